# Every target works on a machine with nothing but Python 3.11 or later, git and make.
# The packages go into .venv; a stamp file skips the installation while its inputs stand still.

PYTHON ?= python3
VENV ?= .venv
# Many tests with sockets wait more than they compute: two workers per core. conftest.py says which
# tests run in one worker, and which begin first.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(2 * (os.cpu_count() or 1))')
PYTEST_ARGUMENTS ?= -n $(WORKERS) --dist loadgroup
CHECK_ARGUMENTS ?=

# Tests and checks start hundreds of processes. Without bytecode on disk each compiles what it imports.
export PYTHONDONTWRITEBYTECODE :=

BIN := $(VENV)/bin
# Absolute, so that a command started elsewhere (a target's, an adapter's) finds the same one.
MESHWIRE := $(CURDIR)/$(BIN)/meshwire
INPUTS := pyproject.toml constraints.txt
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
COMPILE := $(BIN)/python -m compileall -q spec reference conformance tools
# Each writes what is committed, or compares what is committed, and has --check.
CHECKED_TOOLS := make_schemas draw_figures sync_spec make_vectors make_reconciliation make_oplog make_certificates format_transcripts make_index \
	trace coverage_tables check_citations check_inventory check_prose mutants mutant_scores mutant_matrix operators liars

.PHONY: help check check-full test test-fast lint ci look site dist adapters clean \
	mutants mutants-sample mutants-matrix mutants-operators \
	lint-style lint-types lint-imports lint-names lint-generated lint-vectors lint-site lint-wheel

help:
	@echo "make check     install, start the bundled node and run the suite on it"
	@echo "make check-full the same, every case in each dialect of the bundled node"
	@echo "make test      install everything and run every test"
	@echo "make test-fast every test without sockets and child processes, under a minute"
	@echo "make lint      style, types, import rules, dead names, generated files, vectors, wheel"
	@echo "make adapters  run the vectors on the codecs in other languages"
	@echo "make mutants-operators  run the suite against mutants that operators make; hours"
	@echo "make mutants   run the suite on every mutant and write the kill scores: the better part of an hour"
	@echo "make ci        lint + check-full + adapters + a sample of the mutants + test"
	@echo "make site      build the pages into site/"
	@echo "make look      build the pages and take screenshots of them"
	@echo "make dist      build the wheel and the source distribution into dist/"
	@echo "make clean     remove what these targets made"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "meshwire needs Python 3.11 or later: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# What the suite and the bundled node need.
$(VENV)/node.stamp: $(BIN)/python $(INPUTS)
	$(INSTALL) -e ".[node,iroh,quic,discovery]"
	$(COMPILE)
	@touch $@

# Everything: tests, linters, site.
$(VENV)/dev.stamp: $(BIN)/python $(INPUTS)
	$(INSTALL) -e ".[node,iroh,quic,discovery,docs,dev]"
	$(COMPILE)
	@touch $(VENV)/node.stamp $@

check: $(VENV)/node.stamp
	$(MESHWIRE) check $(CHECK_ARGUMENTS)

# Every case in every dialect of the bundled node that it fits.
check-full: $(VENV)/node.stamp
	$(MESHWIRE) check --full $(CHECK_ARGUMENTS)

test: $(VENV)/dev.stamp
	$(BIN)/python -m pytest $(PYTEST_ARGUMENTS)

test-fast: $(VENV)/dev.stamp
	$(BIN)/python -m pytest $(PYTEST_ARGUMENTS) -m "not socket and not process"

lint: lint-style lint-types lint-imports lint-names lint-generated lint-vectors lint-site lint-wheel

lint-style: $(VENV)/dev.stamp
	$(BIN)/ruff check
	$(BIN)/ruff format --check

lint-types: $(VENV)/dev.stamp
	$(BIN)/mypy

lint-imports: $(VENV)/dev.stamp
	$(BIN)/python tools/check_imports.py

lint-names: $(VENV)/dev.stamp
	$(BIN)/python tools/check_dead_names.py

# Every tool speaks, also after one that failed.
lint-generated: $(VENV)/dev.stamp
	@failed=0; for tool in $(CHECKED_TOOLS); do \
		echo "$(BIN)/python tools/$$tool.py --check"; \
		$(BIN)/python tools/$$tool.py --check || failed=1; \
	done; exit $$failed

lint-vectors: $(VENV)/dev.stamp
	$(MESHWIRE) vectors stats
	$(MESHWIRE) vectors verify

# A broken link or anchor on a page is an error, and so is an asset of another host.
lint-site: $(VENV)/dev.stamp
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --site-dir build/site
	$(BIN)/python tools/look_at_site.py --no-screenshots

lint-wheel: $(VENV)/dev.stamp
	$(BIN)/python tools/check_wheel.py

# Where a toolchain is absent, the script says that its adapter was not run.
adapters: $(VENV)/node.stamp
	MESHWIRE="$(MESHWIRE)" conformance/adapters/run.sh

# Each resumes what an interrupt has left; a row that is not what it says ends with 1.
mutants: $(VENV)/dev.stamp
	$(BIN)/python tools/mutant_scores.py

mutants-sample: $(VENV)/dev.stamp
	$(BIN)/python tools/mutant_scores.py --sample 40

# About an hour, on a machine without other work.
mutants-matrix: $(VENV)/dev.stamp
	$(BIN)/python tools/case_lines.py
	$(BIN)/python tools/mutant_matrix.py

# Goes on where an earlier run ended; afterwards `tools/sync_spec.py` writes the page.
mutants-operators: $(VENV)/dev.stamp
	$(BIN)/python tools/operators.py
	$(BIN)/python tools/operators.py --write
	$(BIN)/python tools/sync_spec.py

# Tests run last, so that their closing line is the last thing said.
ci: lint check-full adapters mutants-sample test

# Screenshots at desktop and phone width into build/screenshots, where there is a Chromium.
look: lint-site
	$(BIN)/python tools/look_at_site.py

site: $(VENV)/dev.stamp
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# The packages of the environment build it, so that nothing is fetched.
dist: $(VENV)/dev.stamp
	$(BIN)/python -m build --no-isolation --outdir dist

clean:
	rm -rf $(VENV) build dist site .mypy_cache .pytest_cache .ruff_cache
