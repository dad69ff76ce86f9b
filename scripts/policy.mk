# SPDX-License-Identifier: Apache-2.0
# The policy language: what is generated from its table, golden tests, the fuzzer.
SCHEMA_GEN := $(B)/policy/gen/schema-gen
POLICY_TOOL := $(B)/tests/policy/tool
POLICY_LIBS = $$($(PKG_CONFIG) --libs yaml-0.1 json-c libxxhash)
FUZZ_SECONDS ?= 15
SCDOC ?= scdoc
FUZZFLAGS := -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer

$(SCHEMA_GEN): $(B)/policy/gen/schema_gen.o $(B)/libpolicy.a
	$(call say,LD,$@)
	$(Q)$(CC) $(SANFLAGS) $(LDFLAGS) $^ -o $@ $(POLICY_LIBS)

build/penstock.schema.json: $(SCHEMA_GEN)
	$(call say,GEN,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$< json > $@

build/man/penstock.yaml.5.scd: $(SCHEMA_GEN)
	$(call say,GEN,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$< page > $@

build/man/penstock.yaml.5: build/man/penstock.yaml.5.scd
	$(call say,MAN,$@)
	$(Q)$(SCDOC) < $< > $@

$(POLICY_TOOL): $(B)/tests/policy/tool.o $(B)/libpolicy.a
	$(call say,LD,$@)
	$(Q)$(CC) $(SANFLAGS) $(LDFLAGS) $^ -o $@ $(POLICY_LIBS)

.PHONY: schema policy-test golden fuzz-policy
schema: build/penstock.schema.json build/man/penstock.yaml.5

policy-test: $(POLICY_TOOL)
	$(Q)sh tests/policy/run.sh $<

# Expected files change here and nowhere else; read the difference before you keep it.
golden: $(POLICY_TOOL)
	$(Q)sh tests/policy/run.sh $< --golden

$(B)/fuzz/fuzz_policy: tests/fuzz/fuzz_policy.c $(POLICY_SRC) $(wildcard policy/*.h policy/base/*.h)
	$(call say,FUZZ,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) $(CPPFLAGS) -g -O1 -std=gnu17 $(FUZZFLAGS) tests/fuzz/fuzz_policy.c $(POLICY_SRC) -o $@ $(POLICY_LIBS)

# New inputs go to build/; what is worth keeping is copied to the corpus by hand.
fuzz-policy: $(B)/fuzz/fuzz_policy
	$(Q)mkdir -p $(B)/fuzz/corpus-policy
	$(Q)$< -max_total_time=$(FUZZ_SECONDS) -max_len=8192 -timeout=10 -dict=tests/fuzz/policy.dict -artifact_prefix=$(B)/fuzz/ \
		$(B)/fuzz/corpus-policy tests/fuzz/corpus/policy

$(B)/fuzz/fuzz_setfile: tests/fuzz/fuzz_setfile.c $(POLICY_SRC) $(wildcard policy/*.h policy/base/*.h)
	$(call say,FUZZ,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) $(CPPFLAGS) -g -O1 -std=gnu17 $(FUZZFLAGS) tests/fuzz/fuzz_setfile.c $(POLICY_SRC) -o $@ $(POLICY_LIBS)

.PHONY: fuzz-setfile
fuzz-setfile: $(B)/fuzz/fuzz_setfile
	$(Q)mkdir -p $(B)/fuzz/corpus-setfile
	$(Q)$< -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -timeout=10 -artifact_prefix=$(B)/fuzz/ \
		$(B)/fuzz/corpus-setfile tests/fuzz/corpus/setfile
