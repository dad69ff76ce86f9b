# SPDX-License-Identifier: Apache-2.0
# make test and what it runs. Each suite is NAME='COMMAND' for tests/run, which counts the cases.
UNIT_BIN := $(patsubst %.c,$(B)/%,$(wildcard tests/unit/test_*.c))
BPFTEST_BIN := $(patsubst %.c,$(B)/%,$(wildcard tests/bpf/test_*.c))
TOOLS := $(patsubst %.c,$(B)/%,$(wildcard tests/tools/*.c)) $(B)/tests/tools/clock.so $(B)/bench/gen/feed-gen
TEST_BIN := $(B)/tests/kernels/programs $(UNIT_BIN) $(BPFTEST_BIN) $(CLITEST) $(PROCESSTEST_BIN) $(KERNELTEST_BIN) $(POLICY_TOOL)
PYTEST := $(PYTHON) -B -m pytest -q -p no:cacheprovider

suite = $(foreach t,$(1),$(patsubst $(B)/tests/%,%,$(t))=$(t))
FUZZ_SUITE = $(foreach f,$(FUZZ),'fuzz/$(f)=$(MAKE) -s fuzz-$(f) && echo ok 1 no finding in $(FUZZ_SECONDS) s')
# The namespace tests wait more than they work: two at a time, beside the other suites, so they begin first.
SUITES = 'netns=PENSTOCK_BUILD=$(B) $(PYTEST) -n 2 --dist loadfile tests/netns' \
	 $(call suite,$(UNIT_BIN)) 'policy=sh tests/policy/run.sh $(POLICY_TOOL)' \
	 'schema=$(PYTHON) tests/policy/schema.py build/penstock.schema.json' \
	 $(call suite,$(CLITEST)) 'cli/run=$(PYTHON) tests/cli/run.py $(B)/penstock' \
	 $(call suite,$(PROCESSTEST_BIN) $(BPFTEST_BIN) $(KERNELTEST_BIN)) \
	 'verifier=$(B)/tests/kernels/programs' \
	 'bench=PENSTOCK_BUILD=$(B) $(PYTEST) tests/bench'
# What parses, with the sanitizers: the same programs once more from another build.
SAN_SUITES = $(foreach t,$(UNIT_BIN) $(CLITEST) $(PROCESSTEST_BIN),$(patsubst $(B)/tests/%,san/%,$(t))=$(patsubst $(B)/%,build/san/%,$(t))) \
	     'san/policy=sh tests/policy/run.sh build/san/tests/policy/tool'

.PHONY: test test-long test-build tools san-tests san-daemon
tools: $(TOOLS)
test-build: all $(TEST_BIN) $(TOOLS) other-layout $(FUZZERS) build/penstock.schema.json san-daemon
san-daemon:
	$(Q)$(MAKE) -s SAN=1 build/san/penstockd
san-tests: $(UNIT_BIN) $(CLITEST) $(PROCESSTEST_BIN) $(POLICY_TOOL)

# The daemon once more, with maps that lie differently.
.PHONY: other-layout
other-layout: all
	$(Q)$(MAKE) --no-print-directory B=$(B)/other-layout OTHER_LAYOUT=1 $(addprefix $(B)/other-layout/,penstockd penstock-inspect)

test: deps
	$(Q)$(MAKE) --no-print-directory -j2 test-build
	$(Q)$(MAKE) --no-print-directory -j2 SAN=1 san-tests
	$(Q)tests/run $(SUITES) $(SAN_SUITES) $(FUZZ_SUITE) $(if $(filter 1,$(WITH_KERNELS)),$(CACHED_KERNEL_SUITES))

# The full figures: a minute of requests through applies, long fuzzing, a million differential
# frames for each random policy.
test-long: deps
	$(Q)$(MAKE) --no-print-directory -j2 test-build
	$(Q)PENSTOCK_LONG=1 PENSTOCK_FRAMES=1000000 tests/run $(SUITES) \
		$(subst fuzz-,FUZZ_SECONDS=600 fuzz-,$(subst $(FUZZ_SECONDS) s,600 s,$(FUZZ_SUITE)))

# docs/promises.md, from what the tests themselves measured. PENSTOCK_LONG=1 for the full figures.
.PHONY: promises
PROMISES := $(B)/promises.jsonl
PROMISE_TESTS := $(wildcard tests/netns/test_promise_*.py) tests/netns/test_apply.py tests/netns/test_attach.py tests/netns/test_evasion.py \
		 tests/netns/test_hostile.py tests/netns/test_privilege.py tests/netns/test_purge.py
promises: deps
	$(Q)$(MAKE) --no-print-directory -j2 test-build
	$(Q)rm -f $(PROMISES)
	$(Q)PENSTOCK_BUILD=$(B) PENSTOCK_PROMISES=$(abspath $(PROMISES)) $(PYTEST) $(PROMISE_TESTS)
	$(Q)scripts/promises $(PROMISES) docs/promises.md

$(B)/tests/tools/clock.so: tests/tools/preload/clock.c
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) -std=gnu17 $(WARN) -O2 -shared -fPIC $< -o $@

$(B)/tests/tools/%: $(B)/tests/tools/%.o
	$(call say,LD,$@)
	$(Q)$(CC) $(SANFLAGS) $(LDFLAGS) $^ -o $@

$(B)/bench/gen/feed-gen: $(B)/bench/gen/feed-gen.o
	$(call say,LD,$@)
	$(Q)$(CC) $(SANFLAGS) $(LDFLAGS) $^ -o $@
