# Everything that there is to do here. Each target installs what it needs into .venv, in this folder.

# The first Python that is new enough; PYTHON=… chooses another.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	command -v $$python >/dev/null && $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
MINUTES ?= 15
EXTRAS := check,sql,postgres,yaml,celery,logs,prometheus,opentelemetry

.PHONY: demo run test quick rules soak lint bench clean help

demo: $(VENV)/.demo  ## order databases from a broker of PostgreSQL, and kill it at its work
	@$(BIN)/python -m samples.demo

run: $(VENV)/.demo  ## serve that broker until Ctrl-C, and say how to talk to it
	@$(BIN)/python -m samples.run

test: $(VENV)/.test  ## run all tests
	$(BIN)/pytest --cov --cov-report=term

quick: $(VENV)/.test  ## run the tests that need no server, database or second process
	$(BIN)/pytest -m "not integration and not resilience and not chaos"

rules: $(VENV)/.test  ## count the tests of each rule of docs/rules.md, and list the rules without a test
	$(BIN)/python -m pytest -p tests.support.rules -n 0 --collect-only -qq --rules-report

soak: $(VENV)/.test  ## order databases for 15 minutes, or MINUTES=…, while everything is killed
	BROKERKIT_SOAK_MINUTES=$(MINUTES) $(BIN)/pytest -n 0 -s tests/chaos

lint: $(VENV)/.lint  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m tests.lint.english
	$(BIN)/lint-imports
	@# A sample in a folder of its own is modules that import each other by their bare names.
	for sample in $$(dirname samples/*/*.py | sort -u); do MYPYPATH=$$sample $(BIN)/mypy $$sample/*.py || exit 1; done

bench: $(VENV)/.bench  ## measure, and print ratios against their budgets
	$(BIN)/python -m tests.benchmarks

help:  ## say what each target does
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 8

clean:  ## remove what the other targets made
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage*

$(VENV)/.pip:
	@test -n "$(PYTHON)" || { echo "brokerkit needs Python 3.11 or later; set PYTHON=…" >&2; exit 1; }
	@# Where the system's Python has no ensurepip, its own pip makes the one of the environment.
	$(PYTHON) -m venv $(VENV) || { $(PYTHON) -m venv --clear --without-pip $(VENV) \
		&& $(PYTHON) -m pip --python $(BIN)/python install --quiet pip; }
	$(BIN)/python -m pip install --quiet --upgrade pip
	@touch $@

# What each target needs; made again when the project's dependencies change.
$(VENV)/.demo $(VENV)/.test $(VENV)/.lint $(VENV)/.bench: $(VENV)/.%: $(VENV)/.pip pyproject.toml setup.cfg
	@# setuptools warns about every editable installation.
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --editable '.[$(EXTRAS)]' --group $*
	@touch $@
