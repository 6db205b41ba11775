# Fanlight. `make demo` shows a picture, `make test` runs everything; both install what they need first.

.DEFAULT_GOAL := help
.PHONY: help deps deps-demo deps-tests web build demo lint test test-vm bench clean web-deps

# The steps of one target come after each other, also with -j.
.NOTPARALLEL:

CARGO ?= cargo
NPM ?= npm
# SKIP_DEPS=1 leaves the system's packages alone.
DEPS := $(if $(SKIP_DEPS),@true,@scripts/deps.sh)

help: ## this list
	@echo "Fanlight turns a camera into every stream people point at it."
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

deps: ## install the Debian packages to build and run (asks nothing)
	$(DEPS)

deps-demo:
	$(DEPS) --demo

deps-tests: ## install those and the ones for the tests
	$(DEPS) --tests

# What the dashboard is made of: everything in web/ but what npm and Vite put there.
WEB_SOURCES := $(shell find web -type f -not -path 'web/node_modules/*' -not -path 'web/dist/*' 2>/dev/null)

web: web/dist/index.html ## build the dashboard into web/dist, from where the binary takes it

web/dist/index.html: web/node_modules/.package-lock.json $(WEB_SOURCES)
	cd web && $(NPM) run --silent build
	@touch $@

build: web ## build target/release/fanlight, the dashboard in it
	$(CARGO) build --locked --release --bin fanlight

demo: deps-demo build ## a test camera and two simulated printers in your browser: prints the address; LIVEKIT=1 adds a LiveKit server; Ctrl-C ends it
	@exec $(if $(LIVEKIT),scripts/demo-livekit.sh target/release/fanlight,target/release/fanlight demo)

web-deps: tests/web/node_modules/.package-lock.json web/node_modules/.package-lock.json

# npm writes this file last.
%/node_modules/.package-lock.json: %/package.json %/package-lock.json
	@command -v $(NPM) >/dev/null || { echo "npm is missing: the dashboard and the tests need Node.js 20.19 or newer" \
	  "(https://nodejs.org). Without it, cargo build --release builds Fanlight with a plain page." >&2; exit 1; }
	cd $* && $(NPM) ci
	@touch $@

# The dashboard first: it is compiled into what clippy and the tests look at.
lint: web-deps web ## rustfmt, clippy, eslint, tsc
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	cd web && $(NPM) run --silent lint
	cd tests/web && $(NPM) run --silent lint

test: deps-tests lint ## lint, then all tests against the real binary
	scripts/test.sh

# WORDS=plugged runs only the scenarios whose name has one of these words in it.
test-vm: web ## real USB and V4L2 cameras in a virtual machine, plugged in and out
	$(DEPS) --vm
	$(CARGO) build --locked --bin fanlight
	tests/vm/run.sh target/debug/fanlight $(WORDS)

bench: deps-tests web-deps web ## the figures of the README
	$(CARGO) build --locked --release --bin fanlight --example rtsp_camera
	@for bench in $$(sed -n '/^\[\[bench\]\]/,/^$$/s/^name = "\(.*\)"/\1/p' Cargo.toml); do \
	  $(CARGO) bench --locked --bench $$bench || exit 1; done
	FANLIGHT_BIN=$(CURDIR)/target/release/fanlight \
	RTSP_CAMERA_BIN=$(CURDIR)/target/release/examples/rtsp_camera \
	  node tests/web/bench/latency.js --only LL-HLS
	FANLIGHT_BIN=$(CURDIR)/target/release/fanlight \
	RTSP_CAMERA_BIN=$(CURDIR)/target/release/examples/rtsp_camera \
	MEDIAMTX_BIN=$(MEDIAMTX) GO2RTC_BIN=$(GO2RTC) \
	  node tests/web/bench/whep_latency.js

clean: ## remove everything that was built
	$(CARGO) clean
	rm -rf tests/web/node_modules web/node_modules web/dist
