# SPDX-License-Identifier: Apache-2.0
# The daemon's kernel side and its tests, which need root: they make namespaces of their own.
KERNEL_SIDE := attach attach_devs attach_hook attach_owner attach_programs conntrack counters counters_carry explain flows flows_carry flows_import flows_watch inspect inspect_wire install jsonobj \
	       layouts loader loader_leftovers loader_log loader_migrate loader_pins log netif privilege
KERNELTEST_BIN := $(patsubst %,$(B)/tests/control/test_%,loader migrate install attach conntrack counters explain netif guard)
KERNELTEST_OBJ := $(B)/tests/control/lib/lab.o $(KERNEL_SIDE:%=$(B)/control/%.o)

$(KERNELTEST_BIN:%=%.o) $(B)/tests/control/lib/lab.o: CPPFLAGS += -Icontrol

# A policy's way into the kernel: all of the daemon but its main().
$(B)/tests/control/test_guard: $(filter-out $(B)/control/main.o,$(call obj,$(CONTROL_SRC))) $(B)/libpolicy.a
$(KERNELTEST_BIN): $(B)/tests/control/%: $(B)/tests/control/%.o $(KERNELTEST_OBJ)
	$(call say,LD,$@)
	$(Q)$(CC) $(SANFLAGS) $(LDFLAGS) $(sort $(filter %.o,$^)) $(filter %.a,$^) -o $@ $$($(PKG_CONFIG) --libs $(LIBS)) -lcmocka -lpthread

.PHONY: kernel-tests
kernel-tests: $(KERNELTEST_BIN)
	$(Q)for t in $(KERNELTEST_BIN); do $$t || exit 1; done
