# Against live PyTorch; not part of `make check`, which needs no Python.
#   check-torch   full-size networks through the command, and the goldens computed anew
#   goldens       writes tests/golden/cases again
TORCH_PYTHON ?= /usr/bin/python3
TORCH_DEPS    = python3 python3-torch python3-numpy python3-pil

.PHONY: check-torch goldens torch-deps
torch-deps: ; $(call install_missing,$(TORCH_DEPS))
check-torch: torch-deps $(COMMAND)
	$(TORCH_PYTHON) tests/golden/make_goldens.py --check
	$(TORCH_PYTHON) tests/check_torch.py $(COMMAND)
goldens: torch-deps
	$(TORCH_PYTHON) tests/golden/make_goldens.py
