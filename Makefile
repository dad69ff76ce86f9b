# SPDX-License-Identifier: Apache-2.0
# make help lists the targets. Everything made is in build/.
CC ?= gcc
CLANG ?= clang
BPFTOOL ?= $(shell command -v bpftool || echo /usr/sbin/bpftool)
PKG_CONFIG ?= pkg-config
PREFIX ?= /usr/local
DESTDIR ?=
PYTHON ?= /usr/bin/python3
VERSION := 0.1.0

Q := $(if $(filter 1,$(V)),,@)
say = $(if $(Q),@printf '  %-6s %s\n' $(1) $(patsubst build/%,%,$(2)))

B := build$(if $(filter 1,$(SAN)),/san)
LDFLAGS += -Wl,--as-needed
LIBS := libbpf libnl-3.0 libnl-route-3.0 libnl-nf-3.0 yaml-0.1 json-c libsystemd libmicrohttpd smartcols libxxhash libpcap libseccomp
ARCH_INC := /usr/include/$(shell uname -m)-linux-gnu
WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wswitch-enum -Wno-missing-field-initializers $(if $(filter 1,$(WERROR)),-Werror)
SANFLAGS := $(if $(filter 1,$(SAN)),-fsanitize=address -fsanitize=undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
# A build whose maps lie differently, see dataplane/abi.h: for tests of migrations.
OTHER := $(if $(filter 1,$(OTHER_LAYOUT)),-DPENSTOCK_TEST_LAYOUT)
CPPFLAGS += $(OTHER) -D_GNU_SOURCE -DPENSTOCK_VERSION='"$(VERSION)"' -I. -Idataplane -Ipolicy/base -Ipolicy -Itelemetry -isystem $(B)/gen
CFLAGS ?= -O2 -g
CFLAGS += -std=gnu17 $(WARN) $(SANFLAGS)
BPFFLAGS := -target bpf -mcpu=v3 -g -O2 -std=gnu17 -Wall -Wextra -Werror -Idataplane -Idataplane/lib -idirafter $(ARCH_INC) $(OTHER)

POLICY_SRC  := $(wildcard policy/*.c policy/base/*.c)
CONTROL_SRC := $(filter-out control/inspector.c,$(wildcard control/*.c telemetry/*.c))
CLI_SRC     := $(wildcard cli/*.c)
obj = $(patsubst %.c,$(B)/%.o,$(1))
POLICY_OBJ  := $(call obj,$(POLICY_SRC))
SKEL := $(B)/gen/penstock.skel.h

.DELETE_ON_ERROR:
.SUFFIXES:
.SECONDARY:
.PHONY: all deps demo lint format format-check install uninstall clean help
all: $(B)/penstock $(B)/penstockd $(B)/penstock-inspect

include $(sort $(wildcard scripts/*.mk))

$(B)/penstock: $(call obj,$(CLI_SRC)) $(B)/libpolicy.a
	$(call say,LD,$@)
	$(Q)$(CC) $(SANFLAGS) $(LDFLAGS) $^ -o $@ $$($(PKG_CONFIG) --libs $(LIBS))

$(B)/penstockd: $(call obj,$(CONTROL_SRC)) $(B)/libpolicy.a
	$(call say,LD,$@)
	$(Q)$(CC) $(SANFLAGS) $(LDFLAGS) $^ -o $@ $$($(PKG_CONFIG) --libs $(LIBS)) -lpthread

# Beside penstockd, which looks for it there. What holds CAP_SYS_ADMIN is linked with as little as possible.
$(B)/penstock-inspect: $(patsubst %,$(B)/control/%.o,inspector inspect_wire privilege sandbox)
	$(call say,LD,$@)
	$(Q)$(CC) $(SANFLAGS) $(LDFLAGS) $^ -o $@ $$($(PKG_CONFIG) --libs libseccomp)

$(B)/libpolicy.a: $(POLICY_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^

# -MD, not -MMD: the generated skeleton is found by -isystem and must count.
$(B)/%.o: %.c | $(SKEL)
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $$($(PKG_CONFIG) --cflags $(LIBS)) -MD -MP -c $< -o $@

$(B)/bpf/penstock.bpf.o: dataplane/penstock.bpf.c
	$(call say,BPF,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) $(BPFFLAGS) -MMD -MP -c $< -o $@

$(SKEL): $(B)/bpf/penstock.bpf.o
	$(call say,SKEL,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(BPFTOOL) gen skeleton $< name penstock > $@

$(B)/tests/unit/test_store: $(call obj,$(wildcard telemetry/*.c))
$(B)/tests/unit/test_%: $(B)/tests/unit/test_%.o $(B)/libpolicy.a
	$(call say,LD,$@)
	$(Q)$(CC) $(SANFLAGS) $(LDFLAGS) $^ -o $@ $$($(PKG_CONFIG) --libs $(LIBS)) -lcmocka

$(B)/tests/bpf/test_%: $(B)/tests/bpf/test_%.o $(call obj,$(wildcard tests/bpf/lib/*.c tests/oracle/*.c)) $(B)/libpolicy.a
	$(call say,LD,$@)
	$(Q)$(CC) $(SANFLAGS) $(LDFLAGS) $^ -o $@ $$($(PKG_CONFIG) --libs $(LIBS)) -lcmocka

deps:
	$(Q)scripts/deps

demo: deps
	$(Q)$(MAKE) --no-print-directory -j2 all tools
	$(Q)BUILD=$(B) scripts/demo

lint:
	$(Q)scripts/deps --lint
	$(Q)$(MAKE) --no-print-directory $(SKEL)
	$(Q)scripts/lint $(CPPFLAGS) $$($(PKG_CONFIG) --cflags $(LIBS))

FORMATTED = $$(git ls-files -co --exclude-standard '*.c' '*.h')
format:
	$(Q)clang-format -i $(FORMATTED)
format-check:
	$(Q)clang-format --dry-run -Werror $(FORMATTED) && echo "format: clean"

SYSTEMD_UNITS ?= $(PREFIX)/lib/systemd/system
install: all man completions schema
	$(Q)install -D -m 755 $(B)/penstock $(DESTDIR)$(PREFIX)/bin/penstock
	$(Q)install -D -m 755 $(B)/penstockd $(DESTDIR)$(PREFIX)/sbin/penstockd
	$(Q)install -D -m 755 $(B)/penstock-inspect $(DESTDIR)$(PREFIX)/sbin/penstock-inspect
	$(Q)install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man1 build/man/penstock.1
	$(Q)install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man5 build/man/penstock.yaml.5
	$(Q)install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man7 build/man/penstock-packets.7
	$(Q)install -D -m 644 -t $(DESTDIR)$(PREFIX)/share/man/man8 build/man/penstockd.8
	$(Q)install -D -m 644 build/completions/penstock.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/penstock
	$(Q)install -D -m 644 build/completions/_penstock $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_penstock
	$(Q)install -D -m 644 build/completions/penstock.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/penstock.fish
	$(Q)install -D -m 644 build/penstock.schema.json $(DESTDIR)$(PREFIX)/share/penstock/penstock.schema.json
	$(Q)sed 's,@SBIN@,$(PREFIX)/sbin,' packaging/systemd/penstockd.service.in | \
		install -D -m 644 /dev/stdin $(DESTDIR)$(SYSTEMD_UNITS)/penstockd.service
	$(Q)install -D -m 644 packaging/systemd/sysusers.conf $(DESTDIR)$(PREFIX)/lib/sysusers.d/penstock.conf
	$(Q)install -D -m 644 packaging/systemd/tmpfiles.conf $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/penstock.conf
	$(Q)install -d $(DESTDIR)$(PREFIX)/share/penstock/examples
	$(Q)cp -r examples/. $(DESTDIR)$(PREFIX)/share/penstock/examples/
	$(Q)echo "installed under $(DESTDIR)$(PREFIX)"

uninstall:
	$(Q)rm -f $(DESTDIR)$(PREFIX)/bin/penstock $(DESTDIR)$(PREFIX)/sbin/penstockd $(DESTDIR)$(PREFIX)/sbin/penstock-inspect \
		$(DESTDIR)$(PREFIX)/share/man/man1/penstock.1 $(DESTDIR)$(PREFIX)/share/man/man5/penstock.yaml.5 \
		$(DESTDIR)$(PREFIX)/share/man/man7/penstock-packets.7 $(DESTDIR)$(PREFIX)/share/man/man8/penstockd.8 \
		$(DESTDIR)$(PREFIX)/share/bash-completion/completions/penstock \
		$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_penstock \
		$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/penstock.fish \
		$(DESTDIR)$(SYSTEMD_UNITS)/penstockd.service \
		$(DESTDIR)$(PREFIX)/lib/sysusers.d/penstock.conf $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/penstock.conf
	$(Q)rm -rf $(DESTDIR)$(PREFIX)/share/penstock

help:
	@echo "make               build penstock and penstockd into build/"
	@echo "make deps          install what building and testing needs from the distribution"
	@echo "make demo          show it at work in a sandbox of network namespaces (root)"
	@echo "make test          unit, golden, kernel and namespace tests, short fuzzing (root)"
	@echo "make test-long     the same with the full figures"
	@echo "make promises      docs/promises.md: what the tests measured of changes, deaths, devices and disks (root)"
	@echo "make test-kernels  the programs and their tests on Debian's other kernels, emulated (minutes)"
	@echo "make bench         cost per packet and per apply, beside other tools (root)"
	@echo "make lint          byte order, clang-tidy, cppcheck, include table, sizes"
	@echo "make format-check  layout by .clang-format; make format applies it"
	@echo "make golden        write the expected files of the policy tests anew"
	@echo "make install       into PREFIX ($(PREFIX)), below DESTDIR; make uninstall"
	@echo "V=1 shows commands, SAN=1 builds with sanitizers into build/san, WERROR=1 stops at warnings"

clean:
	$(Q)rm -rf build

-include $(shell find $(B) -name '*.d' 2>/dev/null)
