# What a developer types. Each target does its own set-up: a virtual environment in .venv with the build tools from
# PyPI, build directories in .build. All of it can be removed at any time (make clean).
#
# variables: CC, PYTHON (the interpreter to make .venv with), WERROR=true (a warning is an error, as in CI);
# for make fuzz: FUZZ_SECONDS (60, for each target), TARGET=parser (that one alone); for make soak: SOAK_SECONDS (600),
# SOAK_THREADS (0)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help build serve test test-ops test-sanitize test-aarch64 test-pythons coverage fuzz soak bench lint format docs clean

WERROR ?= false
SOAK_SECONDS ?= 600
SOAK_THREADS ?= 0
export PYTHON WERROR
# Where meson finds ninja: the one in .venv need not be on the PATH.
export NINJA := $(CURDIR)/.venv/bin/ninja

DEV := .build/dev
PYTEST := .venv/bin/python -m pytest --numprocesses 2 --dist worksteal
FRAMER := tests/diff/libframer.so
C_FILES = $(shell find libmeinheld bindings tests examples benchmarks -name '*.[ch]' ! -name '*.cdef.h')
PY_DIRS := bindings tests examples benchmarks tools

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /make \1\t/p' Makefile | expand -t 22

build: ## build the library, the binding and the examples
	@tools/setup.sh build
	@tools/configure.sh $(DEV) -Dpython=enabled -Dwerror=$(WERROR)
	@$(NINJA) --quiet -C $(DEV)

serve: build ## build, then serve the README's hello world on 127.0.0.1:8000
	@PYTHONPATH=$(CURDIR)/$(DEV)/bindings/python exec .venv/bin/python examples/hello.py

test: build ## build and run all tests, C and Python
	@tools/setup.sh test diff frameworks browser
	@$(NINJA) --quiet -C $(DEV) $(FRAMER)
	@status=0; \
	.venv/bin/meson test -C $(DEV) --no-suite python --no-suite diff --print-errorlogs || status=1; \
	MEINHELD_FRAMER=$(CURDIR)/$(DEV)/$(FRAMER) $(PYTEST) tests/diff || status=1; \
	PYTHONPATH=$(CURDIR)/$(DEV)/bindings/python $(PYTEST) tests/py tests/frameworks || status=1; \
	exit $$status

test-ops: build ## the worker under gunicorn's masters of four releases, from PyPI
	@tools/setup.sh test
	@PYTHONPATH=$(CURDIR)/$(DEV)/bindings/python $(PYTEST) tests/ops

test-sanitize: ## the C tests under ASan and UBSan, with gcc and with clang
	@tools/setup.sh build
	@tools/test_sanitize.sh

test-aarch64: ## the C tests that need no kernel, on 64-bit ARM by QEMU
	@tools/setup.sh build
	@tools/test_aarch64.sh

test-pythons: ## the Python tests on a wheel, with CPython 3.9, 3.10, 3.12, 3.13 and PyPy, if they are found
	@tools/setup.sh build
	@tools/test_pythons.sh

coverage: ## which lines of the library the C tests run; an error below 95 %
	@tools/setup.sh build coverage
	@tools/coverage.sh

fuzz: ## run the fuzz targets, a minute each (tests/fuzz/README.md)
	@tools/setup.sh build
	@tools/fuzz.sh $(TARGET)

soak: build ## ten minutes of mixed traffic that must leave nothing behind (docs/soak.md)
	@tools/setup.sh test
	@PYTHONPATH=$(CURDIR)/$(DEV)/bindings/python:$(CURDIR)/tests/py:$(CURDIR)/tests/soak \
	.venv/bin/python tests/soak/soak.py --seconds $(SOAK_SECONDS) --threads $(SOAK_THREADS)

bench: ## measure beside the peers, some minutes (benchmarks/README.md)
	@python3 benchmarks/run.py

lint: ## clang-format, ruff and mypy, changing nothing
	@tools/setup.sh build test diff frameworks browser lint
	@.venv/bin/clang-format --dry-run --Werror $(C_FILES)
	@.venv/bin/ruff check --quiet $(PY_DIRS)
	@.venv/bin/ruff format --quiet --check $(PY_DIRS)
	@.venv/bin/mypy
	@.venv/bin/mypy --python-version 3.10 tests/conftest.py tests/py tests/soak
	@.venv/bin/mypy --python-version 3.10 tests/diff
	@.venv/bin/mypy --python-version 3.10 tests/frameworks
	@.venv/bin/mypy --python-version 3.10 tests/ops
	@.venv/bin/mypy tests/build tools bindings/python/gen_native.py

format: ## lay out all files as lint wants them
	@tools/setup.sh lint
	@.venv/bin/clang-format -i $(C_FILES)
	@.venv/bin/ruff check --quiet --fix $(PY_DIRS)
	@.venv/bin/ruff format --quiet $(PY_DIRS)

docs: build ## write docs/settings.md
	@PYTHONPATH=$(CURDIR)/$(DEV)/bindings/python .venv/bin/python tools/settings_page.py >docs/settings.md

clean: ## remove .venv, .build and caches
	rm -rf .build .venv .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
