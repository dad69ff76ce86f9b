# SPDX-License-Identifier: Apache-2.0
# Benchmarks: make bench. Not part of make test; needs root. Figures are this machine's, ratios travel.
BENCH_SKEL := $(B)/gen/bench.skel.h
DROP_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard bench/drop*.c bench/lib/*.c))
# RECORD=1 writes what is checked in.
BENCH_OUT := $(if $(filter 1,$(RECORD)),--table bench/results.md --plot docs/bench.svg)

$(DROP_OBJ): CPPFLAGS += -Ibench
# Not order-only: the compiler leaves headers of -isystem out of its dependency files.
$(DROP_OBJ): $(SKEL) $(BENCH_SKEL)

$(B)/bench/bench.bpf.o: bench/bpf/bench.bpf.c
	$(call say,BPF,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) $(BPFFLAGS) -MMD -MP -c $< -o $@

$(BENCH_SKEL): $(B)/bench/bench.bpf.o
	$(call say,SKEL,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(BPFTOOL) gen skeleton $< name bench > $@

$(B)/bench/drop: $(DROP_OBJ) $(patsubst %,$(B)/control/%.o,sets_table sets_due sets_keys) $(B)/libpolicy.a
	$(call say,LD,$@)
	$(Q)$(CC) $(SANFLAGS) $(LDFLAGS) $^ -o $@ $$($(PKG_CONFIG) --libs $(LIBS))

# tests/bench runs it.
test-build: $(B)/bench/drop

.PHONY: bench bench-packets bench-apply bench-deps
bench: bench-packets bench-apply

bench-deps:
	$(Q)scripts/deps --bench

bench-packets: bench-deps
	$(Q)$(MAKE) --no-print-directory $(B)/bench/drop $(B)/bench/gen/feed-gen
	$(Q)bench/run --build $(B) $(BENCH_OUT)

bench-apply: bench-deps
	$(Q)$(MAKE) --no-print-directory $(B)/penstock $(B)/penstockd $(B)/penstock-inspect $(B)/bench/gen/feed-gen
	$(Q)$(PYTHON) bench/apply.py $(B)
