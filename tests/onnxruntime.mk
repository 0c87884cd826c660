# ONNX Runtime against esrgan compare, through the script of examples/hooks; needs onnxruntime-node
# (make deps-dev).  With PyTorch here, a model that it exported, too.
.PHONY: check-onnxruntime
check-onnxruntime: $(COMMAND) $(BENCH_BIN)
	@node -e 'require("onnxruntime-node")' 2>/dev/null \
	  || { echo "skipped: check-onnxruntime needs onnxruntime-node (make deps-dev)"; exit 0; }; \
	BUILD=$(BUILD) TORCH_PYTHON=$(TORCH_PYTHON) node tests/onnxruntime.mjs
