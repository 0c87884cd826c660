# AArch64, cross-built and run under qemu-user: where Debian's arm64 libraries are there (deps-arm), the
# whole library, on the goldens and in sessions; else the NEON kernels alone, which need no library.
# Emulation is some fifty times as slow as a CPU, so long tables are gone through in steps.
ARM_CC    ?= aarch64-linux-gnu-gcc
ARM_QEMU  ?= qemu-aarch64
ARM_BUILD  = $(BUILD)-arm
ARM_FLAGS  = -D_GNU_SOURCE -Iinclude -Ilib -Ikernels -Itests/arm -Itests -std=c11 -O2 -static \
             -ffp-contract=off $(WARN)
ARM_ALONE  = tests/test_native_kernels.c kernels/arm/neon_native.c kernels/scalar/native_scalar.c \
             lib/base/dtype.c lib/base/status.c tests/arm/cmocka.c tests/arm/tiers.c

ARM_LIB    = /usr/lib/aarch64-linux-gnu
ARM_NEEDS  = $(ARM_LIB)/openblas-pthread/libopenblas.so $(ARM_LIB)/libcmocka.so $(ARM_LIB)/libz.so
ARM_WHOLE  = CC=$(ARM_CC) BUILD=$(ARM_BUILD) \
             BLAS_CFLAGS=-I/usr/include/aarch64-linux-gnu/openblas-pthread

# What runs on which emulated CPU, the longest first; and the tiers that each CPU has to get.
ARM_RUNS   = test_direct@max test_sizes@max test_native@max test_golden@max test_session@max \
             test_direct_kernels@max test_native_kernels@max test_native_kernels@cortex-a72 \
             test_threads@max test_tiers@max test_tiers@cortex-a76 test_tiers@cortex-a72
ARM_TIERS_max        = neon neon neon
ARM_TIERS_cortex-a76 = neon neon neon
ARM_TIERS_cortex-a72 = neon neon neon
arm_part   = $(word $(2),$(subst @, ,$(1)))
ARM_TESTS  = $(sort $(foreach run,$(ARM_RUNS),$(call arm_part,$(run),1)))

.PHONY: check-arm arm-alone arm-whole $(ARM_RUNS:%=arm-run-%)
check-arm:
	+@if ! command -v $(ARM_CC) >/dev/null || ! command -v $(ARM_QEMU) >/dev/null; then \
	  echo "skipped: check-arm needs $(ARM_CC) and $(ARM_QEMU) (make deps)"; \
	elif ! ls $(ARM_NEEDS) >/dev/null 2>&1; then \
	  echo "skipped: the whole library on AArch64 needs arm64 libraries (make deps-arm); kernels alone"; \
	  $(MAKE) --no-print-directory arm-alone; \
	else \
	  $(many_jobs) --no-print-directory $(ARM_WHOLE) $(ARM_TESTS:%=$(ARM_BUILD)/tests/%) && \
	  $(side_by_side) arm-whole; \
	fi

arm-alone:
	@mkdir -p $(ARM_BUILD)
	$(ARM_CC) $(ARM_FLAGS) -o $(ARM_BUILD)/kernels_alone $(ARM_ALONE) -lm
	timeout 900 $(ARM_QEMU) $(ARM_BUILD)/kernels_alone

arm-whole: $(ARM_RUNS:%=arm-run-%)
	@grep -hE '^neon: ([0-9]+) of \1 cases ran' $(ARM_BUILD)/test_golden@max.log \
	  || { echo "the neon tier did not run on every golden"; exit 1; }
	@for tier in neonbf16 neonfp16; do \
	  grep -hE "^$$tier: [1-9][0-9]* of [0-9]+ cases ran" $(ARM_BUILD)/test_golden@max.log \
	  || { echo "the $$tier tier did not run on any golden"; exit 1; }; \
	  ! grep -h "this CPU has no $$tier" $(ARM_BUILD)/test_direct*@max.log || exit 1; \
	done

$(ARM_RUNS:%=arm-run-%): arm-run-%:
	@OPENBLAS_NUM_THREADS=1 ESRGAN_TEST_SHARE=$(if $(filter test_sizes@%,$*),30,15) ESRGAN_TEST_SLOW=50 \
	ESRGAN_TEST_TIERS='$(ARM_TIERS_$(call arm_part,$*,2))' timeout 900 \
	  $(ARM_QEMU) -cpu $(call arm_part,$*,2) $(ARM_BUILD)/tests/$(call arm_part,$*,1) >$(ARM_BUILD)/$*.log 2>&1 \
	  || { cat $(ARM_BUILD)/$*.log; echo "$* on AArch64 FAILED"; exit 1; }
	@echo "== $* on AArch64: $$(grep -F '[  PASSED  ]' $(ARM_BUILD)/$*.log)"
