# The tasks of a developer. Each target installs its dependencies into .venv in this folder.

# The first Python that is new enough. PYTHON=… sets another one.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	command -v $$python >/dev/null && $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
MINUTES ?= 15
SEED ?= 1
DATABASE ?= sqlite
EXTRAS := check,sql,postgres,yaml,celery,logs,prometheus,opentelemetry

.PHONY: demo run test quick rules soak simulate lint bench clean help

demo: $(VENV)/.demo  ## show a broker of PostgreSQL databases, and kill it during an operation
	@$(BIN)/python -m samples.demo

run: $(VENV)/.demo  ## serve that broker until Ctrl-C, and print commands to try it
	@$(BIN)/python -m samples.run

test: $(VENV)/.test  ## run all tests
	$(BIN)/pytest --cov --cov-report=term

quick: $(VENV)/.test  ## run the tests that need no server, database or second process
	$(BIN)/pytest -n 4 --hypothesis-profile=quick -m "not integration and not resilience and not chaos" \
		--ignore=tests/resilience --ignore=tests/chaos --ignore=tests/samples

rules: $(VENV)/.test  ## count the tests of each rule of docs/rules.md, and list the rules without a test
	$(BIN)/python -m pytest -p tests.support.rules -n 0 --collect-only -qq --rules-report

soak: $(VENV)/.test  ## use databases for 15 minutes, or MINUTES=…, while all parts of a deployment are killed
	BROKERKIT_SOAK_MINUTES=$(MINUTES) $(BIN)/pytest -n 0 -s tests/chaos

simulate: $(VENV)/.test  ## explore simulated schedules for 15 minutes, or MINUTES=…, from the seed 1, or SEED=…
	$(BIN)/python -m tests.simulation --minutes $(MINUTES) --seed $(SEED) --database $(DATABASE)

lint: $(VENV)/.lint  ## check style, types, English and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m tests.lint.english
	$(BIN)/lint-imports
	@# The modules of a sample import each other by their bare names, so each folder is checked separately.
	for sample in $$(dirname samples/*/*.py | sort -u); do MYPYPATH=$$sample $(BIN)/mypy $$sample/*.py || exit 1; done

bench: $(VENV)/.bench  ## run the benchmarks, and compare the results with their budgets
	$(BIN)/python -m tests.benchmarks

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 8

clean:  ## remove the files that the other targets created
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage*

$(VENV)/.pip:
	@test -n "$(PYTHON)" || { echo "brokerkit needs Python 3.11 or later; set PYTHON=…" >&2; exit 1; }
	@# Without ensurepip, the pip of the system installs the one of the environment.
	$(PYTHON) -m venv $(VENV) || { $(PYTHON) -m venv --clear --without-pip $(VENV) \
		&& $(PYTHON) -m pip --python $(BIN)/python install --quiet pip; }
	$(BIN)/python -m pip install --quiet --upgrade pip
	@touch $@

# The dependencies of each target, installed again when those of the project change.
$(VENV)/.demo $(VENV)/.test $(VENV)/.lint $(VENV)/.bench: $(VENV)/.%: $(VENV)/.pip pyproject.toml setup.cfg
	@# setuptools warns about every editable installation.
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --editable '.[$(EXTRAS)]' --group $*
	@touch $@
