PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: install serve test lint demo bench faults lock clean

# What is installed is remembered by one file per set of extras: serving needs none of them.
$(VENV)/.installed: setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("streamsim needs Python 3.11 or newer; set PYTHON=/path/to/python3.11") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip setuptools wheel
	$(PIP) --editable .
	@touch $@

$(VENV)/.installed-%: $(VENV)/.installed
	$(PIP) --editable '.[$*]'
	@touch $@

install: $(VENV)/.installed

serve: $(VENV)/.installed
	$(BIN)/streamsim serve --data ./data

# These occupy both processors by themselves; the others run two at a time.
ALONE := attacks decisions deploy end_to_end faults sandbox

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ALONE:%=--ignore=tests/%)
	$(BIN)/python -m pytest $(ALONE:%=tests/%)

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

demo: $(VENV)/.installed-demo
	$(BIN)/python -m bench.demo

bench: $(VENV)/.installed-test $(VENV)/.installed-bench
	$(BIN)/python -m bench
	$(BIN)/python -m bench.simulation

faults: $(VENV)/.installed-test
	STREAMSIM_FAULTS=long $(BIN)/python -m pytest tests/faults

lock: $(VENV)/.installed-test
	$(BIN)/python .ci/lock

clean:
	rm -rf $(VENV) build *.egg-info
