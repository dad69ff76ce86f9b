# SPDX-License-Identifier: Apache-2.0
# The policy language: what is generated from its table, golden tests.
SCHEMA_GEN := $(B)/policy/gen/schema-gen
POLICY_TOOL := $(B)/tests/policy/tool
POLICY_LIBS = $$($(PKG_CONFIG) --libs yaml-0.1 json-c libxxhash)
SCDOC ?= scdoc

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

.PHONY: schema policy-test golden
schema: build/penstock.schema.json build/man/penstock.yaml.5

policy-test: $(POLICY_TOOL)
	$(Q)sh tests/policy/run.sh $<

# Expected files change here and nowhere else; read the difference before you keep it.
golden: $(POLICY_TOOL)
	$(Q)sh tests/policy/run.sh $< --golden
