# The reader against live PyTorch: part of check-torch.
.PHONY: check-torch-reader
check-torch: check-torch-reader
check-torch-reader: torch-deps $(BUILD)/tests/dump_tensors
	$(TORCH_PYTHON) tests/torch/check_reader.py $(BUILD)/tests/dump_tensors

$(BUILD)/tests/dump_tensors: $(OBJ)/tests/torch/dump_tensors.o $(STATIC)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)
