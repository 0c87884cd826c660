# Memory: the whole command, its picture files included, under AddressSanitizer.
.PHONY: check-asan-command
check-asan-command:
	+$(ASAN_MAKE) $(ASAN_BUILD)/esrgan
	@for t in tests/check_command_*.sh tests/check_compare.sh; do \
	  echo "== $$t under AddressSanitizer"; \
	  BUILD=$(ASAN_BUILD) bash $$t || exit 1; \
	done
# A part of the command that can be tested alone.
$(BUILD)/tests/test_gate: $(OBJ)/examples/esrgan/gate.o
