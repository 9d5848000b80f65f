# Everything here works from a fresh clone with make and Python >= 3.11; the environment lives in .venv.
#   make film    write film.mp4        make test    run the tests
#   make check   lint, types, layers   make bench   measure speed and memory
#   make audit   known faults of the pinned packages (asks the network)
#   make examples            the boards of examples/ as animatics, and docs/examples.md; FILMS=1 films them too

PROMPT ?= a red car drives along a neon street at night, medium shot
FILM   ?= film.mp4

VENV := .venv
BIN  := $(VENV)/bin
PIP  := $(BIN)/python -m pip --disable-pip-version-check --quiet
# The first interpreter that is new enough; `make PYTHON=/path/to/python3 ...` chooses another.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	$$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

.PHONY: film test check format bench examples audit clean
.DELETE_ON_ERROR:

film: $(VENV)/.film
	$(BIN)/longtake generate "$(PROMPT)" -o $(FILM)

test: $(VENV)/.dev
	$(BIN)/python -m pytest

check: $(VENV)/.dev
	$(BIN)/ruff format --check src tests bench scripts
	$(BIN)/ruff check src tests bench scripts
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff format src tests bench
	$(BIN)/ruff check --fix src tests bench

bench: $(VENV)/.dev
	$(BIN)/python bench/bench.py

examples: $(VENV)/.film
	$(BIN)/python scripts/examples.py $(if $(FILMS),--films)

# pip-audit lives in an environment of its own: it shares packages with ours, at other versions.
audit: $(VENV)/.film
	test -x $(VENV)/audit/bin/pip-audit || $(BIN)/python -m venv $(VENV)/audit
	$(VENV)/audit/bin/pip --disable-pip-version-check --quiet install pip-audit
	$(VENV)/audit/bin/pip-audit --strict --no-deps --disable-pip --requirement constraints.txt

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

# Torch goes in first and alone: the pinned build, before anything can ask for another.
$(VENV)/.torch: constraints.txt
	@test -n "$(PYTHON)" || { echo "Longtake needs Python 3.11 or newer with venv; pass one: make PYTHON=/path/to/python3.11"; exit 2; }
	@echo "Setting up $(VENV) with $(PYTHON); the first time takes some minutes."
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --constraint constraints.txt torch
	@touch $@

$(VENV)/.film: $(VENV)/.torch pyproject.toml
	$(PIP) install --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.torch pyproject.toml
	$(PIP) install --constraint constraints.txt --editable ".[dev]"
	@touch $@ $(VENV)/.film
