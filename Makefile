# All set-up in two commands: `make demo` and `make test`.
# Needs Python 3.11 to 3.13 with venv. Another Python: `make PYTHON=python3.12 demo`;
# another package index or proxy: pip's own settings, or `make PIP_OPTIONS="..." demo`.

PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)
PIP_OPTIONS ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
DOCS_VENV := .venv-docs
PICTURES := ct/head.dcm mr/abdomen.dcm optical/tissue.png

.PHONY: help venv demo test test-all lint docs clean

help:
	@echo 'make demo   protect a small export of real images, and show the result'
	@echo 'make test   run the tests, but those that take long'
	@echo 'make test-all  run all tests, and measure what they cover'
	@echo 'make lint   run the linters and the type checker'
	@echo 'make docs   build the documentation as a site, in site/'
	@echo 'make clean  remove what these made'

venv: $(READY)

# torch comes first and by itself: its version decides what else fits.
$(READY): pyproject.toml
	@test -n '$(PYTHON)' || { echo 'Python 3.11 or newer is needed'; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet $(PIP_OPTIONS) 'torch==2.13.0'
	$(BIN)/pip install --quiet $(PIP_OPTIONS) --editable '.[dev]'
	@touch $@

demo/export: | $(READY)
	$(BIN)/python -m medprotect.demo $@

# The demo export holds broken files on purpose: exit code 4 says that some were rejected.
demo: $(READY) demo/export
	$(BIN)/medprotect run demo/export demo/out || test $$? -eq 4
	@for file in $(PICTURES); do \
		$(BIN)/medprotect inspect demo/export/$$file --picture demo/pictures || exit $$?; done
	@echo
	@echo 'Before:   demo/export'
	@echo 'After:    demo/out             may leave the house'
	@echo 'Records:  demo/out.medprotect  stays in the house: journal and receipt'
	@echo 'Look at:  demo/pictures        before | after | noise x16'

# A process a core, each with one thread: threads of several would wait for each other.
# What trains, kills, cuts and fuzzes for long is left to `test-all`, and so is coverage.
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/pytest -m 'not slow' --ignore=tests/e2e \
		--numprocesses=auto --dist=worksteal

test-all: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/pytest --cov=medprotect --numprocesses=auto --dist=worksteal

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# The extra `docs` alone: the site needs neither medprotect nor torch.
$(DOCS_VENV)/ready: pyproject.toml
	@test -n '$(PYTHON)' || { echo 'Python 3.11 or newer is needed'; exit 1; }
	$(PYTHON) -m venv $(DOCS_VENV)
	$(PYTHON) -c 'import tomllib; \
		project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
		print(*project["optional-dependencies"]["docs"], sep="\n")' > $(DOCS_VENV)/needed.txt
	$(DOCS_VENV)/bin/pip install --quiet $(PIP_OPTIONS) --requirement $(DOCS_VENV)/needed.txt
	@touch $@

# The variable stills a notice about the successor of MkDocs Material.
docs: $(DOCS_VENV)/ready
	NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/mkdocs build --strict --clean --quiet
	@echo
	@echo 'Look at: site/index.html; with search: $(PYTHON) -m http.server --directory site'

clean:
	rm -rf $(VENV) $(DOCS_VENV) site demo build dist *.egg-info .coverage htmlcov
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
