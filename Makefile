# Every target calls python -m midigen_utils, pytest, jupyter or ruff: the README gives the plain commands.

PYTHON ?= python3
CONSTRAINTS ?= constraints.txt
TORCH_INDEX ?=
VENV := .venv
RUN := $(VENV)/bin/python -m
# Also where a notebook imports torch before the package; see midigen_utils/__init__.py.
export OMP_WAIT_POLICY ?= PASSIVE

.DEFAULT_GOAL := help
.PHONY: help setup demo notebooks lab render html student data train generate live doctor test test-notebooks test-slow test-browser mutants lint check clean

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## /|/' | while IFS='|' read name text; do printf '  make %-15s%s\n' "$$name" "$$text"; done

setup: $(VENV)/installed  ## Make the environment .venv (CONSTRAINTS= takes the newest packages)

$(VENV)/installed: pyproject.toml $(wildcard $(CONSTRAINTS))
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'midigen needs Python 3.11 or newer: make setup PYTHON=python3.12')"
	$(PYTHON) -m venv $(VENV)
	$(RUN) pip install --quiet --upgrade pip
	$(RUN) pip install --quiet $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS)) $(if $(TORCH_INDEX),--no-deps --index-url $(TORCH_INDEX)) torch
	$(RUN) pip install --quiet $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS)) --editable '.[test]'
	@touch $@

demo: setup  ## Play Bach's network, then build a corpus, train and compose; all into midi_data/generated
	$(RUN) midigen_utils demo

notebooks: setup  ## Open the notebooks in JupyterLab, trusted, without the scripts that they are made from
	@$(RUN) jupyter trust notebooks/*.ipynb > /dev/null
	$(RUN) jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) --ContentsManager.hide_globs="['*.py', '__pycache__']" notebooks

lab: notebooks

render: setup  ## Run the notebooks' scripts and write the notebooks (ARGS=02_piano_roll for one)
	$(RUN) tools.rendering $(ARGS)

html: setup  ## Write the course as pages that need no network: build/html/index.html
	$(RUN) sphinx -q -c docs -d build/doctrees . build/html
	@echo build/html/index.html

student: setup  ## Write what a class is given, and what grades its hand-ins: build/student.zip, build/student-grading
	$(RUN) tools.student $(ARGS)

data: setup  ## Download MAESTRO (58 MB) and build its piano rolls
	$(RUN) midigen_utils data $(ARGS)

train: setup  ## Train a model (ARGS="--corpus maestro --model lstm"; see the README)
	$(RUN) midigen_utils train $(ARGS)

generate: setup  ## Compose with the trained model (ARGS="--temperature 1.0")
	$(RUN) midigen_utils generate $(ARGS)

live: setup  ## Write a page on which your network, or Bach's, plays with you, and open it
	$(RUN) midigen_utils live $(ARGS)

doctor: setup  ## Show versions, device, sound, corpora and disk space
	$(RUN) midigen_utils doctor

test: setup  ## Run all tests but the slow ones, and the notebooks
	$(RUN) pytest
	$(MAKE) test-notebooks

test-notebooks: setup  ## Run every notebook again and compare (nbval; full length with MIDIGEN_FAST=0)
	MIDIGEN_STRICT=1 MIDIGEN_FAST=$${MIDIGEN_FAST:-1} OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(RUN) pytest --nbval-lax --nbval-current-env --nbval-cell-timeout 600 notebooks

test-slow: setup  ## Run the tests that take minutes
	$(RUN) pytest -m slow

test-browser: setup  ## Run the tests that drive a browser (Debian's chromium; as root it is installed)
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get install -y -qq --no-install-recommends chromium; } || true
	$(RUN) pytest -m browser

mutants: setup  ## Break the package on purpose, one line at a time: which notebook, which test notices?
	$(VENV)/bin/python tests/mutants.py

lint: setup  ## Check style
	$(RUN) ruff check .
	$(RUN) ruff format --check .

check: lint test  ## All that continuous integration runs; pip-audit, too, where it is installed and finds its service
	@if $(VENV)/bin/python -c "import pip_audit, urllib.request as u; u.urlopen('https://pypi.org/pypi/pip/json', timeout=9)" 2>/dev/null; then $(RUN) pip_audit --skip-editable; else echo "pip-audit: skipped"; fi

clean:  ## Remove the environment and the caches; corpora, checkpoints and music stay
	rm -rf $(VENV) midi_data/cache build .pytest_cache .ruff_cache .hypothesis *.egg-info
