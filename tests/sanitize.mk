# Memory: every unit test under AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer, and
# a few under Valgrind, which also sees what is read before it is written.
ASAN_BUILD  = build-asan
ASAN_MAKE   = $(many_jobs) CC=clang CFLAGS='-O1 -g' BUILD=$(ASAN_BUILD) \
              SANITIZE='-fsanitize=address,undefined -fno-sanitize-recover=all'
ASAN_TESTS  = $(ALL_TESTS:$(BUILD)/tests/%=%)
.PHONY: check-asan asan-runs $(ASAN_TESTS:%=asan-run-%)
check-asan:
	+$(ASAN_MAKE) $(ASAN_BUILD)/esrgan $(ASAN_TESTS:%=$(ASAN_BUILD)/tests/%)
	+@$(side_by_side) asan-runs
asan-runs: $(ASAN_TESTS:%=asan-run-%)
$(ASAN_TESTS:%=asan-run-%): asan-run-%:
	@echo "== $* under AddressSanitizer"
	@ESRGAN_TEST_SHARE=7 ASAN_OPTIONS='detect_leaks=1 allocator_may_return_null=1' BUILD=$(ASAN_BUILD) \
	  timeout 600 $(ASAN_BUILD)/tests/$*

# Valgrind hides AVX-512 from us; OpenBLAS is told by name to do without.
VALGRIND_TESTS = test_concurrency test_picture test_threads
VALGRIND       = valgrind --quiet --error-exitcode=9 --leak-check=full \
                 --errors-for-leak-kinds=definite --fair-sched=yes
.PHONY: check-valgrind valgrind-runs $(VALGRIND_TESTS:%=valgrind-run-%)
check-valgrind: $(VALGRIND_TESTS:%=$(BUILD)/tests/%) ; +@$(side_by_side) valgrind-runs
valgrind-runs: $(VALGRIND_TESTS:%=valgrind-run-%)
$(VALGRIND_TESTS:%=valgrind-run-%): valgrind-run-%:
	@echo "== $* under Valgrind"
	@OPENBLAS_CORETYPE=Haswell OPENBLAS_NUM_THREADS=1 timeout 600 $(VALGRIND) $(BUILD)/tests/$*
