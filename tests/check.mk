# Tests.  `make check` is everything CI needs; the parts can be run alone.
#   tests/test_*.c      one cmocka program each, linked with the static library
#   tests/check_*.sh    whole-command and build checks; get BUILD in the environment; exit 77 skips
# Its other parts: sanitize.mk (AddressSanitizer, Valgrind), tsan.mk, fuzz.mk, arm.mk, and below.
CHECK_SCRIPTS := $(sort $(wildcard tests/check_*.sh))
CHECK_PARTS    = check-format check-unit check-scripts check-baseline check-tsan check-asan \
                 check-valgrind check-fuzz check-arm

.PHONY: tests check check-unit check-scripts $(TEST_BIN:%=run-%) $(CHECK_SCRIPTS:%=run-%)
tests: $(TEST_BIN)

# One part after the other, each with its time; within a part, programs run side by side.  What one of
# them prints stands together, and those that take longest begin first.
LONG_TESTS = $(filter $(foreach t,native sizes cut compare direct statistics,$(BUILD)/tests/test_$(t)),$(TEST_BIN))
ALL_TESTS  = $(LONG_TESTS) $(filter-out $(LONG_TESTS),$(TEST_BIN))
many_jobs  = $(MAKE) $(if $(filter -j%,$(MAKEFLAGS)),,-j$(JOBS))
side_by_side = $(many_jobs) --no-print-directory -Otarget

check:
	+@$(many_jobs) --no-print-directory all tests
	+@began=$$(date +%s); \
	for part in $(CHECK_PARTS); do \
	  echo "==== $$part"; start=$$(date +%s); \
	  $(side_by_side) $$part || { echo "==== $$part FAILED"; exit 1; }; \
	  echo "==== $$part passed in $$(($$(date +%s) - start)) s"; \
	done; \
	echo "==== all passed in $$(($$(date +%s) - began)) s"; \
	echo "$(words $(CHECK_PARTS)) passed, 0 failed"

# More of the pictures that test_sizes draws.
.PHONY: check-sizes
SEED  = 1000
DRAWS = 2000
check-sizes: $(BUILD)/tests/test_sizes ; ESRGAN_TEST_SEED=$(SEED) ESRGAN_TEST_DRAWS=$(DRAWS) $<

check-unit: $(ALL_TESTS:%=run-%)
check-scripts: $(CHECK_SCRIPTS:%=run-%)

$(TEST_BIN:%=run-%): run-%: % $(COMMAND)
	BUILD=$(BUILD) $<

$(CHECK_SCRIPTS:%=run-%): run-%: % all
	@echo "== $<"; MAKEFLAGS= BUILD=$(BUILD) CC='$(CC)' bash $<; s=$$?; [ $$s = 77 ] && { echo "skipped: $<"; exit 0; } || exit $$s

# The object of one kernel, CODE=kernels/..., and where it lies: check_code.sh looks into it.
.PHONY: code
code: $(CODE:%=$(OBJ)/%.o) ; @echo $^

# Every file as clang-format leaves it.
.PHONY: check-format format
C_FILES = $(shell git ls-files -co --exclude-standard '*.c' '*.h' '*.cc' 2>/dev/null || find . -name '*.[ch]' -not -path './build*' -not -path './node_modules/*')
check-format: ; @clang-format --dry-run -Werror $(C_FILES)
format: ; @clang-format -i $(C_FILES)

# A CPU without AVX, emulated: no instruction that it lacks is ever run, and results are right.
# (Of qemu's own model OpenBLAS believes that it has 3DNow!, which it has not; Intel's do.)
.PHONY: check-baseline
QEMU_X86 = env -u OPENBLAS_CORETYPE qemu-x86_64 -cpu core2duo
check-baseline: $(COMMAND) $(BUILD)/tests/test_golden
ifeq (x86_64,$(ARCH))
	@$(QEMU_X86) $(COMMAND) info --cpu | grep -E '^scalar +yes +yes +fp32 fp16 bf16' \
	  || { echo "the scalar tier is not what such a CPU gets"; exit 1; }
	$(QEMU_X86) $(BUILD)/tests/test_golden
else
	@echo "skipped: not on x86-64"
endif
