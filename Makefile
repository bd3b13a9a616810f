# Everything a contributor runs. `make help` lists it. Only Python 3.11 or newer, make and git are needed.
.DEFAULT_GOAL := help
.PHONY: help demo test test-journeys lint docs bench soak test-outside clean
SHELL := /bin/bash
export PIP_DISABLE_PIP_VERSION_CHECK := 1

VENV := .venv
PY := $(VENV)/bin/python
# More than the two cores of CI: tests wait for processes that they start, kill and stop.
JOBS ?= 4
ARGS ?=
# The first interpreter that really runs (a version manager's shim may not) and is new enough.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' Makefile | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

demo: $(VENV)/.examples ## Run the example project, raw flights to a served model (again: from the cache)
	@cd examples/flights && ../../$(PY) demo.py $(ARGS)

test: lint ## Check everything that is quick: lint, types, layers, tests, doctests
	@seed=$${PYTHONHASHSEED:-$$($(PY) -c 'import secrets; print(secrets.randbelow(2**32))')}; \
	echo "PYTHONHASHSEED=$$seed"; $(PY) -m compileall -q src; \
	PYTHONDONTWRITEBYTECODE= PYTHONHASHSEED=$$seed $(PY) -m pytest -q -n $(JOBS) --dist worksteal $(ARGS)

test-journeys: $(VENV)/.test ## Run whole commands as their users call them: README, docs, demos, images, large jobs, each benchmark small
	@$(PY) -m compileall -q src; \
	$(PY) -m pytest -q -n 2 --dist loadfile -m "journey and not soak" tests $(ARGS)

lint: $(VENV)/.test ## Check style, types and the layers of the house
	@$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check . && $(VENV)/bin/mypy && $(VENV)/bin/lint-imports

docs: $(VENV)/.test ## Write docs/cli.md anew from --help, and run the examples in README and docs
	@$(PY) docs/generate_cli.py && $(PY) -m pytest -q -m "not soak" tests/docs $(ARGS)

bench: $(VENV)/.test ## Measure the budgets, each as a ratio to a floor of the same run
	@$(PY) -m compileall -q src; status=0; for file in benchmarks/bench_*.py; do \
	[ -e "$$file" ] || continue; echo "== $$file"; $(PY) "$$file" $(ARGS) || status=1; done; exit $$status

soak: $(VENV)/.test ## Run the long campaigns that make test leaves out
	@HYPOTHESIS_PROFILE=soak $(PY) -m pytest -q -n 2 -m soak --timeout 7200 $(ARGS); status=$$?; \
	if [ $$status -eq 5 ]; then echo "There are no soak tests yet."; else exit $$status; fi

test-outside: $(VENV)/.test ## Talk to real outside clients and services (needs the network)
	@suites=$$(find tests/outside -name 'test_*.py' 2>/dev/null | wc -l | tr -d ' '); \
	if [ "$$suites" = 0 ]; then echo "No outside client is spoken to yet: 0 suites ran."; \
	else MAINSPRING_TEST_OUTSIDE=1 $(PY) -m pytest -q tests/outside $(ARGS) && echo "$$suites outside suites ran."; fi

clean: ## Remove what the targets made
	rm -rf $(VENV) .outside dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@if [ -z "$(PYTHON)" ]; then echo "Mainspring needs Python 3.11 or newer with venv, and found none on the PATH." >&2; exit 1; fi
	@$(PYTHON) -m venv $(VENV)

# Done again only when what is installed has changed.
$(VENV)/.test: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing Mainspring with everything its tests need ..."
	@$(PY) -m pip install -q -c constraints.txt -e '.[test]' && $(PY) -m compileall -q src && touch $@ $(VENV)/.examples

$(VENV)/.examples: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing Mainspring with what its example needs ..."
	@$(PY) -m pip install -q -c constraints.txt -e '.[examples]' && $(PY) -m compileall -q src && touch $@
