# SPDX-License-Identifier: Apache-2.0
# Tests of the daemon's process side: they need no kernel object, so they link what they test alone, and
# neither root nor a network namespace.
PROCESS_SIDE := api api_client api_listen fdio generation jsonobj log slots state wants worker
PROCESSTEST_BIN := $(patsubst %,$(B)/tests/control/test_%,slots state job api wants)

$(B)/tests/control/test_job: $(B)/control/job.o $(B)/control/job_child.o
$(PROCESSTEST_BIN): $(B)/tests/control/%: $(B)/tests/control/%.o $(PROCESS_SIDE:%=$(B)/control/%.o) $(B)/libpolicy.a
	$(call say,LD,$@)
	$(Q)$(CC) $(SANFLAGS) $(LDFLAGS) $(filter %.o,$^) $(filter %.a,$^) -o $@ $$($(PKG_CONFIG) --libs $(LIBS)) -lcmocka -lpthread

.PHONY: process-tests
process-tests: $(PROCESSTEST_BIN)
	$(Q)for t in $(PROCESSTEST_BIN); do $$t || exit 1; done
