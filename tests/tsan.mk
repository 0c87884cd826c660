# Data races: the team alone, small and wide pictures, and eight sessions on one model, under
# ThreadSanitizer.  OpenBLAS is not instrumented, so only what happens around it is seen.
TSAN_BUILD = build-tsan
TSAN_TESTS = test_threads test_deal test_spans test_cut test_sizes test_concurrency
.PHONY: check-tsan
check-tsan:
	$(MAKE) -j$(JOBS) CC=clang CFLAGS='-O1 -g' SANITIZE='-fsanitize=thread' BUILD=$(TSAN_BUILD) \
	  $(TSAN_TESTS:%=$(TSAN_BUILD)/tests/%)
	@for t in $(TSAN_TESTS); do \
	  echo "== $$t under ThreadSanitizer"; \
	  ESRGAN_TEST_SHARE=$$(case $$t in test_cut|test_sizes) echo 7;; *) echo 1;; esac) \
	    TSAN_OPTIONS='halt_on_error=1 exitcode=66' timeout 300 $(TSAN_BUILD)/tests/$$t || exit 1; \
	done
