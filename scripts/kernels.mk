# SPDX-License-Identifier: Apache-2.0
# make test-kernels: the programs, their tests and what of the namespace tests is marked `guest`, under the kernels of
# other Debian releases, each in an emulated machine. Not part of make test: it fetches kernels and takes minutes.
# GUEST_PYTEST='tests/netns/test_guest_vlan.py -k qinq' GUEST_BIN= runs these alone.
KERNELS ?= 6.1 6.12
GUEST_BIN ?= $(B)/tests/kernels/programs \
	     $(patsubst %,$(B)/tests/bpf/test_%,filter state fragments sets oracle) $(KERNELTEST_BIN)
GUEST_PYTEST ?= -m guest $(shell grep -l 'mark\.guest' tests/netns/test_*.py)
kernel_suite = 'kernels/$(1)=PENSTOCK_BUILD=$(B) tests/kernels/run $(1) $(GUEST_BIN) -- $(GUEST_PYTEST)'
# For continuous integration: of kernels whose images are not there only the news.
CACHED_KERNEL_SUITES = $(foreach k,$(KERNELS),$(if $(wildcard build/kernels/$(k)/complete),$(call kernel_suite,$(k)),\
		       'kernels/$(k)=echo skipped: no image; echo 0 passed, 0 failed, 1 skipped'))

$(B)/tests/kernels/programs: $(B)/tests/kernels/programs.o
	$(call say,LD,$@)
	$(Q)$(CC) $(SANFLAGS) $(LDFLAGS) $^ -o $@ $$($(PKG_CONFIG) --libs $(LIBS))

.PHONY: test-kernels
test-kernels: deps
	$(Q)scripts/deps --kernels
	$(Q)$(MAKE) --no-print-directory -j2 all tools $(GUEST_BIN)
	$(Q)tests/run $(foreach k,$(KERNELS),$(call kernel_suite,$(k)))
