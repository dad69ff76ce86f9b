# SPDX-License-Identifier: Apache-2.0
# Benchmarks: make bench. Not part of make test; needs root. Figures are this machine's, ratios travel.
BENCH_SKEL := $(B)/gen/bench.skel.h
BENCH_FEED := $(B)/bench/feed.txt
DROP_OBJ := $(patsubst %.c,$(B)/%.o,$(wildcard bench/drop*.c bench/lib/*.c))

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

$(B)/bench/drop: $(DROP_OBJ) $(B)/libpolicy.a
	$(call say,LD,$@)
	$(Q)$(CC) $(SANFLAGS) $(LDFLAGS) $^ -o $@ $$($(PKG_CONFIG) --libs $(LIBS))

$(BENCH_FEED): $(B)/bench/gen/feed-gen
	$(Q)$< --seed 1 --count 120430 > $@

.PHONY: bench bench-drop bench-apply
bench: bench-drop bench-apply

bench-drop: $(B)/bench/drop $(BENCH_FEED)
	$(Q)$(B)/bench/drop --feed $(BENCH_FEED)

bench-apply: $(B)/penstock $(B)/penstockd $(B)/bench/gen/feed-gen
	$(Q)$(PYTHON) bench/apply.py $(B)
