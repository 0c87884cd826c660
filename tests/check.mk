# Tests.  `make check` is everything CI needs; the parts can be run alone.
#   tests/test_*.c      one cmocka program each, linked with the static library
#   tests/check_*.sh    whole-command and build checks; get BUILD in the environment; exit 77 skips
CHECK_SCRIPTS := $(sort $(wildcard tests/check_*.sh))

.PHONY: tests check check-unit check-scripts $(TEST_BIN:%=run-%) $(CHECK_SCRIPTS:%=run-%)
tests: $(TEST_BIN)
check: check-unit check-scripts
check-unit: $(TEST_BIN:%=run-%)
check-scripts: $(CHECK_SCRIPTS:%=run-%)

$(TEST_BIN:%=run-%): run-%: % $(COMMAND)
	BUILD=$(BUILD) $<

$(CHECK_SCRIPTS:%=run-%): run-%: % all
	@echo "== $<"; BUILD=$(BUILD) CC='$(CC)' bash $<; s=$$?; [ $$s = 77 ] && { echo "skipped: $<"; exit 0; } || exit $$s
