# Memory: every unit test under AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer, and
# a few under Valgrind, which also sees what is read before it is written.
ASAN_BUILD  = build-asan
ASAN_MAKE   = $(MAKE) -j$(JOBS) CC=clang CFLAGS='-O1 -g' BUILD=$(ASAN_BUILD) \
              SANITIZE='-fsanitize=address,undefined -fno-sanitize-recover=all'
ASAN_TESTS  = $(TEST_BIN:$(BUILD)/%=$(ASAN_BUILD)/%)
.PHONY: check-asan check-valgrind
check-asan:
	$(ASAN_MAKE) $(ASAN_BUILD)/esrgan $(ASAN_TESTS)
	@for t in $(ASAN_TESTS); do \
	  echo "== $$t under AddressSanitizer"; \
	  ESRGAN_TEST_SHARE=7 ASAN_OPTIONS='detect_leaks=1 allocator_may_return_null=1' BUILD=$(ASAN_BUILD) \
	    timeout 600 $$t || exit 1; \
	done

# Valgrind hides AVX-512 from us; OpenBLAS is told by name to do without.
VALGRIND_TESTS = test_threads test_picture test_concurrency
VALGRIND       = valgrind --quiet --error-exitcode=9 --leak-check=full \
                 --errors-for-leak-kinds=definite --fair-sched=yes
check-valgrind: $(VALGRIND_TESTS:%=$(BUILD)/tests/%)
	@for t in $(VALGRIND_TESTS); do \
	  echo "== $$t under Valgrind"; \
	  OPENBLAS_CORETYPE=Haswell OPENBLAS_NUM_THREADS=1 \
	    timeout 600 $(VALGRIND) $(BUILD)/tests/$$t || exit 1; \
	done
