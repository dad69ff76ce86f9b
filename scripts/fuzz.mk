# SPDX-License-Identifier: Apache-2.0
# The fuzzers: objects of their own, by clang, with libFuzzer's counters and the sanitizers.
FUZZ_SECONDS ?= 15
FUZZ := policy setfile api
FUZZERS := $(FUZZ:%=$(B)/fuzz/fuzz_%)
# gcc's word for it, by which the compiling child knows that its address space cannot be bounded.
FUZZFLAGS := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -D__SANITIZE_ADDRESS__
# clang alone minds ethtool's replies with their arrays behind them, once the kernel's headers (6.12, of Debian 13) write [] for [0].
FUZZFLAGS += -Wno-gnu-variable-sized-type-not-at-end
FUZZ_POLICY_OBJ := $(POLICY_SRC:%.c=$(B)/fuzz/obj/%.o)
FUZZ_CONTROL_OBJ := $(patsubst %.c,$(B)/fuzz/obj/%.o,$(filter-out control/main.c,$(CONTROL_SRC)))

$(B)/fuzz/obj/%.o: %.c | $(SKEL)
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) $(CPPFLAGS) -g -O1 -std=gnu17 $(FUZZFLAGS) -fsanitize=fuzzer-no-link $$($(PKG_CONFIG) --cflags $(LIBS)) -MD -MP -c $< -o $@

$(B)/fuzz/fuzz_api: $(FUZZ_CONTROL_OBJ)
$(B)/fuzz/fuzz_api: FUZZ_LDFLAGS := -Wl,--wrap=posix_spawn
$(FUZZERS): $(B)/fuzz/%: $(B)/fuzz/obj/tests/fuzz/%.o $(FUZZ_POLICY_OBJ)
	$(call say,FUZZ,$@)
	$(Q)$(CLANG) $(FUZZFLAGS) -fsanitize=fuzzer $(LDFLAGS) $(FUZZ_LDFLAGS) $^ -o $@ $$($(PKG_CONFIG) --libs $(LIBS)) -lpthread

# New inputs go to build/; what is worth keeping is copied to the corpus by hand.
.PHONY: $(FUZZ:%=fuzz-%)
fuzz-policy: FUZZ_OPTIONS := -max_len=8192 -dict=tests/fuzz/policy.dict
fuzz-setfile: FUZZ_OPTIONS := -max_len=4096
fuzz-api: FUZZ_OPTIONS := -max_len=4096 -dict=tests/fuzz/api.dict -close_fd_mask=3 # the daemon has a log
$(FUZZ:%=fuzz-%): fuzz-%: $(B)/fuzz/fuzz_%
	$(Q)mkdir -p $(B)/fuzz/corpus-$*
	$(Q)$< -max_total_time=$(FUZZ_SECONDS) -timeout=10 $(FUZZ_OPTIONS) -artifact_prefix=$(B)/fuzz/ \
		$(B)/fuzz/corpus-$* tests/fuzz/corpus/$*
