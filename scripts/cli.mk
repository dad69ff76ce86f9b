# SPDX-License-Identifier: Apache-2.0
# The CLI: its library, its tests, the manual pages and the completion scripts.
LIBS += libcurl

SCDOC ?= scdoc
MAN_PAGES := $(patsubst docs/man/%.scd,build/man/%,$(wildcard docs/man/*.scd))
COMPLETIONS := build/completions/penstock.bash build/completions/_penstock build/completions/penstock.fish
CLITEST_SRC := $(wildcard tests/cli/test_*.c)
CLITEST := $(patsubst %.c,$(B)/%,$(CLITEST_SRC))

.PHONY: man completions cli-tests
man: $(MAN_PAGES) build/man/penstock.yaml.5
completions: $(COMPLETIONS)

# What the program and its page say about the verbs comes from one table, so that it is the same.
build/man/verbs.scd: $(B)/penstock
	$(call say,MAN,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(B)/penstock __manual > $@

build/man/penstock.1.scd: docs/man/penstock.1.scd build/man/verbs.scd
	$(Q)sed -e '/^@VERBS@$$/{r build/man/verbs.scd' -e 'd}' $< > $@

build/man/penstock.1: build/man/penstock.1.scd
	$(call say,MAN,$@)
	$(Q)$(SCDOC) < $< > $@

build/man/%: docs/man/%.scd
	$(call say,MAN,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(SCDOC) < $< > $@

build/completions/penstock.bash: $(B)/penstock
	$(call say,GEN,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(B)/penstock completion bash > $@

build/completions/_penstock: $(B)/penstock
	$(call say,GEN,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(B)/penstock completion zsh > $@

build/completions/penstock.fish: $(B)/penstock
	$(call say,GEN,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(B)/penstock completion fish > $@

$(B)/tests/cli/test_%: $(B)/tests/cli/test_%.o $(filter-out $(B)/cli/main.o,$(call obj,$(CLI_SRC))) $(B)/libpolicy.a
	$(call say,LD,$@)
	$(Q)$(CC) $(SANFLAGS) $(LDFLAGS) $^ -o $@ $$($(PKG_CONFIG) --libs $(LIBS)) -lcmocka

# The C tests, then the program itself as a user meets it.
cli-tests: $(CLITEST) $(B)/penstock
	$(Q)for t in $(CLITEST); do $$t || exit 1; done
	$(Q)$(PYTHON) tests/cli/run.py $(B)/penstock
