# libesrgan.  `make` builds the library and the command; `make help` lists what else there is.

PREFIX   ?= /usr/local
LIBDIR   ?= $(PREFIX)/lib
INCDIR   ?= $(PREFIX)/include
BINDIR   ?= $(PREFIX)/bin
MANDIR   ?= $(PREFIX)/share/man
DESTDIR  ?=

CC       ?= cc
CXX      ?= c++
AR       ?= ar
CFLAGS   ?= -O2 -g
WARN      = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
            -Wvla -Wundef -Werror
SANITIZE ?=

# The one place a version is written is the header.
VERSION  := $(shell sed -n 's/^\#define ESRGAN_VERSION_STRING "\(.*\)"/\1/p' include/esrgan.h)
SOMAJOR  := $(firstword $(subst ., ,$(VERSION)))

# Objects live in a folder per set of flags, so that two builds never mix; libraries are linked anew when flags
# are others than those of the last time, but for `make install`, which takes what was built.
BUILD    ?= build
FLAGS     = $(BUILD)/flags
LAST     := $(shell cat $(FLAGS) 2>/dev/null)
FLAGHASH := $(if $(filter-out install,$(or $(MAKECMDGOALS),all)),,$(LAST))
FLAGHASH := $(or $(FLAGHASH),$(shell printf '%s' \
            '$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) $(SANITIZE)' | cksum | cut -d' ' -f1))
OBJ       = $(BUILD)/obj-$(FLAGHASH)

# Without a compiler yet (make deps installs it): the machine's own.
ARCH     := $(firstword $(subst -, ,$(shell $(CC) -dumpmachine 2>/dev/null || uname -m)))
ifneq (,$(filter x86_64 amd64,$(ARCH)))
KERNEL_DIR = x86
else ifneq (,$(filter aarch64 arm64,$(ARCH)))
KERNEL_DIR = arm
endif

PKG_CONFIG ?= pkg-config
BLAS_CFLAGS := $(shell $(PKG_CONFIG) --cflags openblas 2>/dev/null)
BLAS_SONAME ?= libopenblas.so.0# loaded when it is needed, see lib/engine/openblas.c
LIBS         = -lz -lm -lpthread -ldl
CMD_LIBS     = -lpng -ljpeg -lwebp -lwebpmux -lwebpdemux -ltiff

CPPFLAGS_ALL = -D_GNU_SOURCE -Iinclude -Ilib -Ikernels $(BLAS_CFLAGS) $(CPPFLAGS)
CFLAGS_ALL   = -std=c11 -fPIC -fvisibility=hidden -ffp-contract=off -pthread -MMD -MP \
               $(WARN) $(CFLAGS) $(SANITIZE)
LDFLAGS_ALL  = -pthread $(LDFLAGS) $(SANITIZE)

LIB_SRC  := $(sort $(wildcard lib/*.c lib/*/*.c kernels/*.c kernels/scalar/*.c kernels/openblas/*.c \
            $(if $(KERNEL_DIR),kernels/$(KERNEL_DIR)/*.c)))
LIB_OBJ   = $(LIB_SRC:%.c=$(OBJ)/%.o)
CMD_SRC  := $(sort $(wildcard examples/esrgan/*.c))
CMD_OBJ   = $(CMD_SRC:%.c=$(OBJ)/%.o)
EXAMPLES := $(sort $(wildcard examples/*.c))
EXAMPLE_BIN = $(EXAMPLES:examples/%.c=$(BUILD)/examples/%)
EXAMPLE_CXX := $(sort $(wildcard examples/*.cc))
EXAMPLE_CXX_BIN = $(EXAMPLE_CXX:examples/%.cc=$(BUILD)/examples/%)
TEST_SRC := $(sort $(wildcard tests/test_*.c))
TEST_BIN  = $(TEST_SRC:tests/%.c=$(BUILD)/tests/%)
TEST_LIB_SRC := $(sort $(wildcard tests/support/*.c))
TEST_LIB_OBJ  = $(TEST_LIB_SRC:%.c=$(OBJ)/%.o)

STATIC = $(BUILD)/libesrgan.a
SHARED = $(BUILD)/libesrgan.so.$(VERSION)
SONAME = libesrgan.so.$(SOMAJOR)
COMMAND = $(BUILD)/esrgan

.DEFAULT_GOAL := all

# Builds started from a recipe use every CPU, however make was called.
JOBS ?= $(shell nproc 2>/dev/null || echo 1)

# What runs is shown in short; `make V=1` shows the commands.
ifeq ($(V),1)
Q =
say =
else
Q = @
say = @printf '  %-6s %s\n' $(1) '$(2)'
endif
.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all lib command examples clean help

all: lib command examples
lib: $(STATIC) $(SHARED)
command: $(COMMAND)
examples: $(EXAMPLE_BIN) $(EXAMPLE_CXX_BIN)

# A file that needs instructions beyond the baseline says so by the first word of its name; only
# kernels/ may, and nothing in such a file runs before the CPU was asked.  -mprfchw: older CPUs pass
# this hint over; without the flag compilers make one to read of one to write.
ISA_avx2       = -mavx2 -mfma -mf16c -mprfchw
ISA_avx512     = $(ISA_avx2) -mavx512f -mavx512bw -mavx512vl -mavx512dq -mprefer-vector-width=512
ISA_avx512bf16 = $(ISA_avx512) -mavx512bf16
ISA_amx        = $(ISA_avx512bf16) -mamx-tile -mamx-bf16
ISA_neon       =
ISA_neonbf16   = -march=armv8.2-a+bf16
ISA_neonfp16   = -march=armv8.2-a+fp16fml
isa_of         = $(ISA_$(firstword $(subst _, ,$(notdir $(1)))))

# The plain kernels are loops for the compiler to vectorise; nobody looks at floating-point flags.
$(OBJ)/kernels/scalar/%.o $(OBJ)/kernels/openblas/%.o: ISAFLAGS = $(if $(SANITIZE),-DES_ROLLED,-O3 -fno-trapping-math)
$(OBJ)/kernels/x86/%.o: ISAFLAGS = $(call isa_of,$*) $(if $(SANITIZE),-DES_ROLLED)
$(OBJ)/kernels/arm/%.o: ISAFLAGS = $(call isa_of,$*)
$(OBJ)/lib/%.o $(OBJ)/kernels/%.o: BUILDING = -DESRGAN_BUILDING
$(OBJ)/lib/engine/openblas.o: CPPFLAGS_ALL += -DES_OPENBLAS='"$(BLAS_SONAME)"'
$(OBJ)/examples/%.o: CPPFLAGS_ALL = -D_GNU_SOURCE -Iinclude $(CPPFLAGS)

$(OBJ)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(BUILDING) $(CFLAGS_ALL) $(ISAFLAGS) -c -o $@ $<

ifneq ($(FLAGHASH),$(LAST))
.PHONY: $(FLAGS)
endif
$(FLAGS):
	@mkdir -p $(@D)
	@echo $(FLAGHASH) >$@

$(STATIC): $(LIB_OBJ) $(FLAGS)
	@mkdir -p $(@D)
	@rm -f $@
	$(call say,AR,$@)
	$(Q)$(AR) rcs $@ $(LIB_OBJ)

$(SHARED): $(LIB_OBJ) $(FLAGS)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) -shared -Wl,-soname,$(SONAME) -Wl,--no-undefined $(LDFLAGS_ALL) -o $@ $(LIB_OBJ) $(LIBS)
	@ln -sf $(@F) $(BUILD)/$(SONAME)
	@ln -sf $(SONAME) $(BUILD)/libesrgan.so

$(COMMAND): $(CMD_OBJ) $(STATIC)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $(CMD_OBJ) $(STATIC) $(CMD_LIBS) $(LIBS)

$(BUILD)/examples/%: examples/%.c $(STATIC)
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) -D_GNU_SOURCE -Iinclude -std=c11 $(WARN) $(CFLAGS) $(LDFLAGS_ALL) -o $@ $< $(STATIC) $(LIBS)

$(BUILD)/examples/%: examples/%.cc $(STATIC)
	@mkdir -p $(@D)
	$(call say,CXX,$<)
	$(Q)$(CXX) -Iinclude -std=c++11 -Wall -Wextra -Werror -O2 $(LDFLAGS_ALL) -o $@ $< $(STATIC) $(LIBS)

$(BUILD)/tests/%: $(OBJ)/tests/%.o $(TEST_LIB_OBJ) $(STATIC)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ -lcmocka $(LIBS)

# ---- Setting up: Debian packages by name, only those that are missing --------------------------
DEPS     = gcc g++ make pkg-config libopenblas-dev zlib1g-dev libcmocka-dev libstb-dev libpng-dev \
           libjpeg62-turbo-dev libwebp-dev libtiff-dev clang clang-format libclang-rt-14-dev valgrind cmake \
           python3 gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user
DEPS_DEV = python3-torch python3-numpy python3-pil python3-matplotlib chromium
SUDO     = $(if $(filter 0,$(shell id -u)),,sudo)
APT      = DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get -qq -o Dpkg::Use-Pty=0
installed = dpkg-query -W -f='$${Status}' $(1) 2>/dev/null | grep -q 'ok installed'
define install_missing
@missing=; for p in $(1); do $(call installed,$$p) || missing="$$missing $$p"; done; \
if [ -n "$$missing" ]; then echo "installing:$$missing"; \
  $(APT) update && $(APT) install -y --no-install-recommends $$missing >/dev/null; fi
endef
.PHONY: deps deps-dev
deps: ; $(call install_missing,$(DEPS))
	@$(MAKE) --no-print-directory deps-arm

# Debian's arm64 libraries beside those of this machine, for check-arm.  Where they cannot be had, the
# machine is left as it was, and check-arm tests the kernels alone.
DEPS_ARM = zlib1g-dev:arm64 libopenblas-pthread-dev:arm64 libcmocka-dev:arm64
.PHONY: deps-arm
deps-arm:
	@if [ "$$(dpkg --print-architecture)" != amd64 ]; then \
	  echo "skipped: deps-arm is for machines of Debian's amd64"; exit 0; fi; \
	missing=; for p in $(DEPS_ARM); do $(call installed,$$p) || missing="$$missing $$p"; done; \
	[ -n "$$missing" ] || exit 0; \
	echo "installing:$$missing"; \
	foreign=$$(dpkg --print-foreign-architectures | grep -x arm64); \
	[ -n "$$foreign" ] || $(SUDO) dpkg --add-architecture arm64 || exit 1; \
	$(APT) update && $(APT) install -y --no-install-recommends $$missing >/dev/null && exit 0; \
	[ -n "$$foreign" ] || { $(SUDO) dpkg --remove-architecture arm64 && $(APT) update; }; \
	echo "skipped: apt-get cannot install$$missing (has this mirror arm64?); check-arm tests the kernels alone"
deps-dev: deps
	$(call install_missing,$(DEPS_DEV))
	$(MAKE) --no-print-directory deps-onnxruntime

clean:
	rm -rf build build-*

# What a program that links the static library needs beside it.
.PHONY: print-libs
print-libs: ; @echo '$(SANITIZE) $(LIBS)'

help:
	@echo 'make             library, command and small programs, under $(BUILD)/'
	@echo 'make check       every test; check-unit, check-scripts for a part'
	@echo 'make demo        upscale the picture in the box and measure it'
	@echo 'make install     into PREFIX ($(PREFIX)), DESTDIR honoured; make uninstall'
	@echo 'make deps        Debian packages that are missing; deps-dev: PyTorch and ONNX Runtime, too'
	@echo 'make check-torch networks at full size against PyTorch'
	@echo 'make clean       remove what was built'

include $(sort $(wildcard tests/*.mk bench/*.mk examples/*.mk))
-include $(shell find $(OBJ) -name '*.d' 2>/dev/null)
