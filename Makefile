# The commands a person types. meson and ninja do the work, scripts/ holds the logic.
#
#   make                     build into build/; the program is build/vmatlas
#   make run                 install what is missing, build, and show the atlas of examples/tour
#   make run ARGS="map 123"  the same, with any command
#   make test                install what is missing, build, run the tests     TEST_ARGS="--only live/map"
#   make format              put all C files into the house's shape
#   make lint                format, clang-tidy, gcc and clang with -Werror, layers, circles, imports
#   make asan                the tests again under AddressSanitizer and UBSan, in build-asan/
#   make kernel-test         tests on other kernels: Debian's 6.1 and 6.12, in QEMU     KERNEL_ARGS="--kernel 6.1 --tier full"
#   make fuzz                each fuzz target for FUZZ_SECONDS, in build-fuzz/
#   make fleet-demo          three exporters, Prometheus and VictoriaMetrics on loopback, and growth asked back
#   make bench               speed against the floor and against peers
#   make bench-verdict       precision and recall of the verdicts of `vmatlas check`
#   make install             PREFIX (default /usr/local), DESTDIR
#
# BUILD names another build folder. MESON_ARGS are given to `meson setup`. WERROR=false for compilers that we have not met.
BUILD ?= build
PREFIX ?= /usr/local
MESON_ARGS ?=
WERROR ?= true
ARGS ?=
TEST_ARGS ?=
LINT_ARGS ?=
BENCH_ARGS ?=
KERNEL_ARGS ?=
FUZZ_SECONDS ?= 60
JOBS ?= 3

SHELL = /bin/bash
.SHELLFLAGS = -o pipefail -c
# The lock keeps two `make` of one tree from running ninja in the same folder at once.
NINJA = flock $(1)/.lock ninja -C $(1) --quiet | sed '/^ninja: no work to do\.$$/d'

.PHONY: all deps build run test kernel-test fleet-demo bench format lint asan fuzz install clean

all: build

deps:
	@scripts/install-deps build

build:
	@scripts/install-deps --check build
	@scripts/configure $(BUILD) werror=$(WERROR) -- --prefix=$(PREFIX) $(MESON_ARGS)
	@$(call NINJA,$(BUILD))

run: deps
	@$(MAKE) --no-print-directory build
	@BUILD=$(BUILD) scripts/run-tour $(ARGS)

test:
	@scripts/install-deps build test
	@scripts/configure $(BUILD) werror=$(WERROR) tests=enabled -- --prefix=$(PREFIX) $(MESON_ARGS)
	@$(call NINJA,$(BUILD))
	@scripts/run-tests --build $(BUILD) --jobs $(JOBS) $(TEST_ARGS)

kernel-test:
	@scripts/install-deps build test kernel
	@scripts/configure $(BUILD) werror=$(WERROR) tests=enabled -- --prefix=$(PREFIX) $(MESON_ARGS)
	@$(call NINJA,$(BUILD))
	@tests/kernel/run --build $(BUILD) $(KERNEL_ARGS)

fleet-demo:
	@scripts/install-deps build fleet
	@$(MAKE) --no-print-directory build
	@BUILD=$(BUILD) scripts/fleet-demo

bench:
	@scripts/install-deps build bench
	@scripts/configure $(BUILD) werror=$(WERROR) bench=true -- --prefix=$(PREFIX) $(MESON_ARGS)
	@$(call NINJA,$(BUILD))
	@BUILD=$(BUILD) bench/run $(BENCH_ARGS)

bench-verdict:
	@scripts/install-deps build bench
	@scripts/configure $(BUILD) werror=$(WERROR) bench=true -- --prefix=$(PREFIX) $(MESON_ARGS)
	@$(call NINJA,$(BUILD))
	@echo "seeds 1 to 20" && $(BUILD)/bench/bench_verdict 20 1
	@echo "seeds 1000 to 1019, the hold-out" && $(BUILD)/bench/bench_verdict 20 1000
	@echo "living processes" && BUILD=$(BUILD) bench/verdict_live.py $(BENCH_ARGS)

format:
	@scripts/lint --format

lint:
	@scripts/install-deps build test lint
	@scripts/lint $(LINT_ARGS)

# What is tried at random, so often or so long, is tried fully by `make test`; here a share of it meets the same code.
ASAN_SHARE := TORTURE_SECONDS=10 GONE_SECONDS=5 REUSE_SECONDS=4 RACE_SECONDS=10 LATENCY_SECONDS=2 STOP_ROUNDS=300 FORK_ROUNDS=120 KILLS=150

# Shared objects that the tests preload need the sanitizer's own symbols, hence b_lundef=false.
asan:
	@scripts/install-deps build test
	@scripts/configure build-asan werror=$(WERROR) tests=enabled b_sanitize=address,undefined b_lundef=false optimization=1
	@$(call NINJA,build-asan)
	@$(ASAN_SHARE) scripts/run-tests --build build-asan --jobs $(JOBS) --timeout-scale 3 $(TEST_ARGS)

fuzz:
	@scripts/install-deps build fuzz
	@CC=clang-14 scripts/configure build-fuzz tests=disabled fuzz=true b_sanitize=address,undefined b_lundef=false optimization=1
	@$(call NINJA,build-fuzz)
	@scripts/run-fuzz build-fuzz $(FUZZ_SECONDS)

install: build
	@scripts/configure $(BUILD) prefix=$(PREFIX)
	meson install -C $(BUILD) $(if $(DESTDIR),--destdir $(abspath $(DESTDIR)))

clean:
	rm -rf $(BUILD) build-asan build-clang build-fuzz build-lint
