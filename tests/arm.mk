# AArch64, cross-built and run under qemu-user: the NEON kernels alone (they need neither OpenBLAS nor
# zlib), then the whole library on the goldens where Debian's arm64 libraries are there (deps-arm).
ARM_CC    ?= aarch64-linux-gnu-gcc
ARM_QEMU  ?= qemu-aarch64
ARM_BUILD  = $(BUILD)-arm
ARM_FLAGS  = -D_GNU_SOURCE -Iinclude -Ilib -Ikernels -Itests/arm -Itests -std=c11 -O2 -static \
             -ffp-contract=off $(WARN)
ARM_SRC    = kernels/arm/neon_native.c kernels/scalar/native_scalar.c lib/base/dtype.c \
             lib/base/status.c tests/arm/cmocka.c tests/arm/tiers.c

ARM_LIB    = /usr/lib/aarch64-linux-gnu
ARM_WHOLE  = CC=$(ARM_CC) BUILD=$(ARM_BUILD) \
             BLAS_CFLAGS=-I/usr/include/aarch64-linux-gnu/openblas-pthread \
             BLAS_LIBS='-L$(ARM_LIB)/openblas-pthread -lopenblas'
ARM_TESTS  = test_golden test_threads

.PHONY: check-arm
check-arm:
	@command -v $(ARM_CC) >/dev/null && command -v $(ARM_QEMU) >/dev/null \
	  || { echo "skipped: check-arm needs $(ARM_CC) and $(ARM_QEMU) (make deps)"; exit 0; }; \
	mkdir -p $(ARM_BUILD) && \
	$(ARM_CC) $(ARM_FLAGS) -o $(ARM_BUILD)/test_native_kernels tests/test_native_kernels.c $(ARM_SRC) -lm && \
	timeout 300 $(ARM_QEMU) $(ARM_BUILD)/test_native_kernels || exit 1; \
	if [ ! -e $(ARM_LIB)/openblas-pthread/libopenblas.so ] || [ ! -e $(ARM_LIB)/libcmocka.so ]; then \
	  echo "skipped: the whole library on AArch64 needs arm64 libraries (make deps-arm)"; exit 0; fi; \
	$(MAKE) --no-print-directory -j$(JOBS) $(ARM_WHOLE) $(ARM_TESTS:%=$(ARM_BUILD)/tests/%) || exit 1; \
	for t in $(ARM_TESTS); do echo "== $$t on AArch64"; \
	  OPENBLAS_NUM_THREADS=1 timeout 300 $(ARM_QEMU) $(ARM_BUILD)/tests/$$t >$(ARM_BUILD)/$$t.log 2>&1 \
	    || { cat $(ARM_BUILD)/$$t.log; exit 1; }; tail -n 2 $(ARM_BUILD)/$$t.log; done; \
	grep -E '^neon: [0-9]+ of [0-9]+ cases ran' $(ARM_BUILD)/test_golden.log \
	  || { echo "the neon tier did not run"; exit 1; }
