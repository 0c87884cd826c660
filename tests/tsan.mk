# Data races: the team alone, small and wide pictures, and eight sessions on one model, under
# ThreadSanitizer.  OpenBLAS is not instrumented, so only what happens around it is seen.
TSAN_BUILD = build-tsan
TSAN_TESTS = test_cut test_sizes test_spans test_concurrency test_threads test_deal
.PHONY: check-tsan tsan-runs $(TSAN_TESTS:%=tsan-run-%)
check-tsan:
	+$(many_jobs) CC=clang CFLAGS='-O1 -g' SANITIZE='-fsanitize=thread' BUILD=$(TSAN_BUILD) \
	  $(TSAN_TESTS:%=$(TSAN_BUILD)/tests/%)
	+@$(side_by_side) tsan-runs
tsan-runs: $(TSAN_TESTS:%=tsan-run-%)
$(TSAN_TESTS:%=tsan-run-%): tsan-run-%:
	@echo "== $* under ThreadSanitizer"
	@ESRGAN_TEST_SHARE=$(if $(filter test_cut test_sizes,$*),7,1) \
	  TSAN_OPTIONS='halt_on_error=1 exitcode=66' timeout 300 $(TSAN_BUILD)/tests/$*
