# SPDX-License-Identifier: Apache-2.0
# Tests of the daemon's process side: they need no kernel object, so they link what they test alone, and
# neither root nor a network namespace.
PROCESS_SIDE := api api_client api_listen fdio feeds_file flows generation generation_sets history jsonobj log sets_due sets_keys sets_table slots sources state wants worker
PROCESSTEST_BIN := $(patsubst %,$(B)/tests/control/test_%,slots state job sandbox api wants flows history sets_table sets feeds doctor)

$(B)/tests/control/test_job: $(patsubst %,$(B)/control/%.o,job job_child privilege sandbox)
$(B)/tests/control/test_sandbox: $(B)/control/sandbox.o
$(B)/tests/control/test_doctor: $(patsubst %,$(B)/control/%.o,doctor doctor_dev inspect_wire)
# With maps of plain memory for those of the kernel.
$(B)/tests/control/test_sets: $(B)/control/sets.o
$(B)/tests/control/test_sets.o $(B)/tests/control/test_sets_table.o: CPPFLAGS += -Icontrol
$(PROCESSTEST_BIN): $(B)/tests/control/%: $(B)/tests/control/%.o $(PROCESS_SIDE:%=$(B)/control/%.o) $(B)/libpolicy.a
	$(call say,LD,$@)
	$(Q)$(CC) $(SANFLAGS) $(LDFLAGS) $(filter %.o,$^) $(filter %.a,$^) -o $@ $$($(PKG_CONFIG) --libs $(LIBS)) -lcmocka -lpthread

.PHONY: process-tests
process-tests: $(PROCESSTEST_BIN)
	$(Q)for t in $(PROCESSTEST_BIN); do $$t || exit 1; done
