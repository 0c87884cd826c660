# Data races: the team alone, small and wide pictures, eight sessions on one model, and the command's batches,
# under ThreadSanitizer.  OpenBLAS is not instrumented, so only what happens around it is seen.
TSAN_BUILD = build-tsan
TSAN_TESTS = test_cut test_sizes test_spans test_concurrency test_threads test_deal test_gate
.PHONY: check-tsan tsan-runs tsan-batch $(TSAN_TESTS:%=tsan-run-%)
check-tsan:
	+$(many_jobs) CC=clang CFLAGS='-O1 -g' SANITIZE='-fsanitize=thread' BUILD=$(TSAN_BUILD) \
	  $(TSAN_BUILD)/esrgan $(TSAN_TESTS:%=$(TSAN_BUILD)/tests/%)
	+@$(side_by_side) tsan-runs
tsan-runs: tsan-batch $(TSAN_TESTS:%=tsan-run-%)
tsan-batch:
	@echo "== check_command_batch.sh under ThreadSanitizer"
	@BUILD=$(TSAN_BUILD) TSAN_OPTIONS='exitcode=66' timeout 300 bash tests/check_command_batch.sh
$(TSAN_TESTS:%=tsan-run-%): tsan-run-%:
	@echo "== $* under ThreadSanitizer"
	@ESRGAN_TEST_SHARE=$(if $(filter test_cut test_sizes,$*),7,1) \
	  TSAN_OPTIONS='halt_on_error=1 exitcode=66' timeout 300 $(TSAN_BUILD)/tests/$*
