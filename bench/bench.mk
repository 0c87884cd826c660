# Measuring.  `make bench-quick` says in two lines whether speed and answers are still there; `make
# bench` measures everything, part by part (BENCH_PARTS for some), against ONNX Runtime and PyTorch,
# too, where they are installed (make deps-dev).
BENCH_SRC   = $(sort $(wildcard bench/*.c)) tests/support/pth.c tests/support/forge.c
BENCH_BIN   = $(BUILD)/bench/bench
BENCH_PARTS = $(shell $(BENCH_BIN) parts)
PYTHON     ?= /usr/bin/python3

.PHONY: bench bench-quick
$(BENCH_BIN): $(BENCH_SRC) bench/bench.h $(STATIC)
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE -DBENCH_PYTHON='"$(PYTHON)"' -Iinclude -Ilib -Ikernels -Itests -std=c11 $(WARN) \
	  $(CFLAGS) $(LDFLAGS_ALL) -o $@ $(BENCH_SRC) $(STATIC) $(LIBS)

bench-quick: $(BENCH_BIN)
	$(BENCH_BIN) quick

# Wrong answers end it; so does an engine that is there and fails.
bench: $(BENCH_BIN)
	@for part in $(BENCH_PARTS); do \
	  echo "== $$part"; $(BENCH_BIN) part $(BUILD)/bench $$part || exit 1; cat $(BUILD)/bench/$$part.md; \
	done
	@$(BENCH_BIN) report $(BUILD)/bench
	@echo "$(BUILD)/bench: bench.md, bench.json, speed.svg"

# ONNX Runtime for Node.js, for the peers and examples/hooks.  Its install script would fetch CUDA.
ONNXRUNTIME = onnxruntime-node@1.30.0
.PHONY: deps-onnxruntime
deps-onnxruntime:
	$(call install_missing,$(if $(shell command -v npm),,nodejs npm))
	@[ -e node_modules/onnxruntime-node ] || npm install --prefix . --ignore-scripts --no-save \
	  --no-package-lock --no-audit --no-fund $(ONNXRUNTIME)
