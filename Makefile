# Everything that is done with this project, by name. Needs cargo 1.90 or newer; `make test` and `make demo` need root on
# a Debian 12 machine, and install what else they need.

PREFIX ?= /usr/local
DESTDIR ?=
TARGET := $(shell rustc --version --verbose 2> /dev/null | sed -n 's/^host: //p')
SHIM = target/$(TARGET)/release/containerd-shim-eci-v2
# One static executable: three of it run for every container, and finding its libraries would take each a third of its time.
STATIC = --config "target.'cfg(target_env = \"gnu\")'.rustflags=['-C', 'target-feature=+crt-static']"

.PHONY: all build demo test bench fuzz install lint deny clean conformance soak kernels

all: build

build:
	cargo build --release --locked --package shim --target $(TARGET) $(STATIC)

# A private containerd, two containers side by side, and what keeps them contained: tests/demo narrates.
demo:
	tests/setup packages rust
	$(MAKE) build
	tests/demo $(SHIM)

# Every test of the workspace, from nothing; ends with "N passed, N failed, N skipped".
test:
	tests/setup
	tests/run

# Ours, the runc shim with runc, and with crun: Markdown tables.
bench: build
	tests/setup
	tests/bench $(SHIM)

# The coverage-guided fuzzer, a minute for each of its targets.
fuzz:
	tests/setup packages rust
	tests/fuzz

install: build
	install -D -m 0755 $(SHIM) $(DESTDIR)$(PREFIX)/bin/containerd-shim-eci-v2
	install -D -m 0644 docs/config.toml $(DESTDIR)$(PREFIX)/share/doc/eci/config.toml

lint:
	cargo fmt --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

deny:
	tests/deny

# containerd's own suites (client, CRI), of its newest release, with ours and with runc side by side; needs Go.
conformance: build
	tests/setup
	tests/hosts/cri-suite-build
	tests/conformance $(SHIM)

# 500 containers, 100 restarts, 1000 execs and 50 starts at once through Docker, and nothing that adds up. Some eight minutes.
soak:
	tests/setup
	ECI_SOAK=1 tests/run -p tests --test soak -- --nocapture
	ECI_SOAK=1 tests/run -p tests --test security -- traps:: pulse:: --nocapture

# Emulated files and trapped calls on Debian's kernels 6.1, 6.12 and the newest, in a virtual machine. Some three minutes.
kernels:
	tests/setup
	ECI_KERNELS=1 tests/run -p tests --test vm kernels

clean:
	cargo clean
	rm -rf build
