# SPDX-License-Identifier: Apache-2.0
# make test-kernels: the programs and their tests under the kernels of other distribution releases, each in
# an emulated machine. Not part of make test: it fetches kernels and takes minutes.
KERNELS ?= 6.1 6.12
GUEST_BIN := $(B)/tests/kernels/programs $(BPFTEST_BIN) \
	     $(patsubst %,$(B)/tests/control/test_%,loader install attach counters netif)

$(B)/tests/kernels/programs: $(B)/tests/kernels/programs.o
	$(call say,LD,$@)
	$(Q)$(CC) $(SANFLAGS) $(LDFLAGS) $^ -o $@ $$($(PKG_CONFIG) --libs $(LIBS))

.PHONY: test-kernels
test-kernels: deps
	$(Q)$(MAKE) --no-print-directory -j2 $(GUEST_BIN)
	$(Q)tests/run $(foreach k,$(KERNELS),'kernels/$(k)=tests/kernels/run $(k) $(GUEST_BIN)')
