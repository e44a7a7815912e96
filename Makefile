# Everything that is done with this project, by name. Needs cargo 1.90 or newer; `make test` and `make demo` need root on
# a Debian 12 machine, and install what else they need.

PREFIX ?= /usr/local
DESTDIR ?=
SHIM = target/release/containerd-shim-eci-v2

.PHONY: all build demo test bench install lint deny clean conformance

all: build

build:
	cargo build --release --locked -p shim

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

install: build
	install -D -m 0755 $(SHIM) $(DESTDIR)$(PREFIX)/bin/containerd-shim-eci-v2

lint:
	cargo fmt --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

deny:
	tests/deny

# containerd's own client suite, of its newest release, with ours and with runc side by side; needs Go.
conformance: build
	tests/setup
	tests/conformance $(SHIM)

clean:
	cargo clean
	rm -rf build
