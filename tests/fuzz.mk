# Fuzzing with libFuzzer under AddressSanitizer and UndefinedBehaviorSanitizer.
#   make check-fuzz               15 s a target, from seeds made on the spot: part of CI
#   make fuzz FUZZ_SECONDS=3600   as long as you like; the corpus grows in build-fuzz/corpus
# A finding stays in build-fuzz/findings and ends the run with an error.
FUZZ_SECONDS ?= 300
FUZZ_CC      ?= clang
FUZZ_BUILD    = $(BUILD)-fuzz
FUZZ_TARGETS  = zip pickle legacy open trace
FUZZ_BIN      = $(FUZZ_TARGETS:%=$(BUILD)/fuzz/fuzz_%)

.PHONY: fuzz check-fuzz fuzz-build fuzz-all $(FUZZ_TARGETS:%=fuzz-run-%)
check-fuzz: ; +@$(call in_fuzz_build,15)
fuzz:       ; +@$(call in_fuzz_build,$(FUZZ_SECONDS))
in_fuzz_build = $(many_jobs) --no-print-directory fuzz-all BUILD=$(FUZZ_BUILD) CC='$(FUZZ_CC)' CFLAGS='-O1 -g' \
  SANITIZE='-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all' FUZZ_SECONDS=$(1)

# Below: inside the build of its own.
fuzz-all: $(FUZZ_TARGETS:%=fuzz-run-%)
# Reading needs neither engine nor kernels, which take longest to build.
FUZZ_OBJ = $(filter $(OBJ)/lib/base/% $(OBJ)/lib/checkpoint/% $(OBJ)/lib/network/% $(OBJ)/lib/model.o,\
           $(LIB_OBJ))
# What the command reads beside.
$(BUILD)/fuzz/fuzz_trace: $(patsubst %,$(OBJ)/examples/esrgan/%.o,files json_read layer_names npy npz \
                                  progress tensor trace_file)
fuzz-build: $(FUZZ_BIN) $(BUILD)/fuzz/seeds.done

$(BUILD)/fuzz/%: $(OBJ)/tests/fuzz/%.o $(FUZZ_OBJ)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS_ALL) -fsanitize=fuzzer -o $@ $^ -lz -lm -lpthread

$(BUILD)/fuzz/make_seeds: $(OBJ)/tests/fuzz/make_seeds.o $(OBJ)/tests/support/forge.o \
                          $(OBJ)/tests/support/pth.o $(FUZZ_OBJ)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS_ALL) -o $@ $^ -lz -lm -lpthread

# What PyTorch wrote serves whole files as seeds, but for the larger ones.
$(BUILD)/fuzz/seeds.done: $(BUILD)/fuzz/make_seeds $(wildcard tests/golden/cases/*.pth)
	@mkdir -p $(FUZZ_TARGETS:%=$(BUILD)/seeds/%) $(FUZZ_TARGETS:%=$(BUILD)/corpus/%) $(BUILD)/findings
	$< $(BUILD)/seeds
	find tests/golden/cases -name '*.pth' -size -24k -exec cp {} $(BUILD)/seeds/open/ \;
	@touch $@

$(FUZZ_TARGETS:%=fuzz-run-%): fuzz-run-%: fuzz-build
	@echo "== fuzzing $* for $(FUZZ_SECONDS) s"
	@$(BUILD)/fuzz/fuzz_$* -max_total_time=$(FUZZ_SECONDS) -timeout=30 -rss_limit_mb=2048 \
	  -max_len=32768 -dict=tests/fuzz/dictionary.txt -artifact_prefix=$(BUILD)/findings/$*- \
	  -print_final_stats=1 -verbosity=0 $(BUILD)/corpus/$* $(BUILD)/seeds/$* \
	  > $(BUILD)/findings/$*.log 2>&1 || { tail -n 60 $(BUILD)/findings/$*.log; exit 1; }
	@echo "$*: $$(sed -n 's/^stat::number_of_executed_units: *//p' $(BUILD)/findings/$*.log) inputs, no finding"
