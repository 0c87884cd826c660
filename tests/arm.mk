# The NEON kernels, cross-built and run under qemu-user.  Kernels, tiers and what they stand on need
# neither OpenBLAS nor zlib, so no library of the other architecture has to be installed.
ARM_CC    ?= aarch64-linux-gnu-gcc
ARM_QEMU  ?= qemu-aarch64
ARM_BUILD  = $(BUILD)-arm
ARM_FLAGS  = -D_GNU_SOURCE -Iinclude -Ilib -Ikernels -Itests/arm -Itests -std=c11 -O2 -static \
             -ffp-contract=off $(WARN)
ARM_SRC    = kernels/arm/neon_native.c kernels/scalar/native_scalar.c lib/base/dtype.c \
             lib/base/status.c tests/arm/cmocka.c tests/arm/tiers.c

.PHONY: check-arm
check-arm:
	@command -v $(ARM_CC) >/dev/null && command -v $(ARM_QEMU) >/dev/null \
	  || { echo "skipped: check-arm needs $(ARM_CC) and $(ARM_QEMU) (make deps)"; exit 0; }; \
	mkdir -p $(ARM_BUILD) && \
	$(ARM_CC) $(ARM_FLAGS) -o $(ARM_BUILD)/test_native_kernels tests/test_native_kernels.c $(ARM_SRC) -lm && \
	$(ARM_QEMU) $(ARM_BUILD)/test_native_kernels
