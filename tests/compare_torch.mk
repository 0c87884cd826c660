# The hooks for PyTorch against esrgan compare; needs python3-torch (make deps-dev).
.PHONY: check-compare-torch
check-compare-torch: torch-deps $(COMMAND) ; BUILD=$(BUILD) $(TORCH_PYTHON) tests/compare_torch.py
