# The commands a person types. meson and ninja do the work; the scripts hold the logic.
BUILD ?= build
PREFIX ?= /usr/local
MESON_ARGS ?=
WERROR ?= true
ARGS ?=
TEST_ARGS ?=
FUZZ_SECONDS ?= 60

# Two `make` in one tree must not run ninja in one folder at once.
NINJA = flock $(BUILD)/.lock ninja -C $(BUILD) --quiet

.PHONY: all configure run test bench lint asan fuzz install clean deps

all: configure
	$(NINJA)

configure: $(BUILD)/build.ninja

$(BUILD)/build.ninja:
	scripts/install-deps --check build
	meson setup $(BUILD) --prefix=$(PREFIX) -Dwerror=$(WERROR) $(MESON_ARGS)
