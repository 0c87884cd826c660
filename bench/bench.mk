# Measuring.  `make bench-quick` says in two lines whether speed and answers are still there; `make
# bench` measures everything, against PyTorch, too, where that is installed (make deps-dev).
BENCH_SRC = $(sort $(wildcard bench/*.c)) tests/support/pth.c tests/support/forge.c
BENCH_BIN = $(BUILD)/bench/bench
PYTHON   ?= /usr/bin/python3

.PHONY: bench bench-quick
$(BENCH_BIN): $(BENCH_SRC) bench/bench.h $(STATIC)
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE -Iinclude -Ilib -Ikernels -Itests -std=c11 $(WARN) $(CFLAGS) $(LDFLAGS_ALL) \
	  -o $@ $(BENCH_SRC) $(STATIC) $(LIBS)

bench-quick: $(BENCH_BIN)
	$(BENCH_BIN) quick

bench: $(BENCH_BIN) $(COMMAND)
	$(BENCH_BIN) full $(BUILD)/bench
	@cat $(BUILD)/bench/bench.md
	$(BENCH_BIN) model x4plus $(BUILD)/bench/x4plus.pth
	@$(PYTHON) -c 'import torch, numpy' 2>/dev/null \
	  && $(PYTHON) bench/peers.py $(COMMAND) $(BUILD)/bench || echo "no PyTorch: make deps-dev installs it"
