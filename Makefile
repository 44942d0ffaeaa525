PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Says nothing but errors: its warnings, and those of the tools that it runs, help nobody who starts a server.
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check install --no-build-isolation --constraint requirements.lock

.PHONY: help install serve test test-all test-fast lint demo bench faults containers docs dist lock pictures clean

# The first target, so what `make` alone does.
help:
	@sed -n 's/^## //p' Makefile

## make serve      set up, then serve on port 8080, with everything in ./data
## make test       set up, then run every test
## make test-fast  what a change needs before a commit, in two minutes
## make test-all   every test on every backend, and the long forms
## make lint       ruff and mypy
## make demo       play the handwritten digits through the catalogue's LinUCB, over HTTP
## make bench      requests per second and latency beside a bare Tornado handler, models beside a BptkServer and their libraries, users beside floods
## make faults     kill parts of a production installation under load, for minutes
## make containers build the image and try docker-compose.yml on this machine's container engine, under load
## make docs       the documentation as a site in build/site, every link checked
## make dist       wheel, sdist and the client's wheel in dist, tried in environments of their own
## make lock       write requirements.lock and requirements.hashes, what all of these and the image install, anew
## make install    the set-up alone: the service and its client in .venv
## make pictures screenshots of the console for docs/console.md, with Debian's chromium
## make clean      remove .venv and what was built

# What is installed is remembered by one file per set of extras. Every version is that of requirements.lock, so
# that another extra never replaces a library under a running server.
SERVING := bptk,pysd,plots
SOURCES := setup.cfg pyproject.toml client/pyproject.toml requirements.lock requirements.hashes

# First the libraries, whose files hash to what the lock says; pip cannot hash what is editable. For a Python or a
# machine that has no hashes there (.ci/lock), UNHASHED=1 takes the versions alone.
$(VENV)/.installed: $(SOURCES)
	@$(PYTHON) -c 'import sys; sys.exit("streamsim needs Python 3.11 or newer; set PYTHON=/path/to/python3.11") if sys.version_info < (3, 11) else None'
	@echo "[1/4] making $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@echo "[2/4] installing what builds the packages"
	@$(PIP) setuptools
	@echo "[3/4] installing streamsim[$(SERVING)], its client and their libraries"
	@sed '/^# not for serving/,$$d' requirements.hashes > $(VENV)/serving.hashes
	@$(PIP) --no-compile --no-deps --require-hashes --requirement $(VENV)/serving.hashes || test -n "$(UNHASHED)" \
	    || { echo "not all files are as in requirements.hashes; UNHASHED=1 takes them by their versions"; exit 1; }
	@$(PIP) --no-compile --editable '.[$(SERVING)]' --editable ./client
	@echo "[4/4] compiling them"
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib streamsim handlers client/streamsim_client
	@touch $@

# The web console, by the Node.js of this machine or that of pip; where neither is to be had the service does without.
CONSOLE := streamsim/server/console/index.html
$(CONSOLE): $(wildcard console/*.* console/src/*.* console/src/*/*.*) | $(VENV)/.installed
	@echo "bundling the web console"
	@$(BIN)/python .ci/console

$(VENV)/.installed-%: $(VENV)/.installed
	@echo "installing streamsim[$*]"
	@$(PIP) --editable '.[$*]'
	@touch $@

install: $(VENV)/.installed $(CONSOLE)

serve: $(VENV)/.installed $(CONSOLE)
	@$(BIN)/streamsim serve --data ./data

# Three at a time, which keep two processors busy though many wait, and after them what needs the machine for itself.
# They share what they compile, and linear algebra has one thread: several that wait for each other keep both busy.
PAIRED := env -u PYTHONDONTWRITEBYTECODE OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder
# Only where there are such tests, or half of what these take to begin would be looking through all the others.
ALONE = $$(grep -rlF --include='*.py' pytest.mark.serial tests)
# Prints how long a command took, and ends as it does.
TIMED = @began=$$(date +%s); $(1); status=$$?; echo "$@: $$(($$(date +%s) - began)) s"; exit $$status

test: $(VENV)/.installed-test $(CONSOLE)
	$(call TIMED,$(PAIRED) -m "not serial" && $(BIN)/python -m pytest -m serial $(ALONE))

# The same with as many draws and kills as there is time for, and everything on every storage backend.
test-all: export STREAMSIM_TESTS := long
test-all: test

# What starts servers of its own, or takes long for the few tests that it has.
SLOW := attacks cli/test_migrate.py cli/test_streamingbandit.py client console deploy end_to_end faults \
    handlers/openapi handlers/test_compare.py handlers/test_comparison_jobs.py handlers/test_evaluation.py \
    handlers/test_kept_inference.py handlers/test_offpolicy.py handlers/test_published.py \
    handlers/test_simulations.py handlers/test_webhooks.py \
    evaluation/inference/test_sequences.py evaluation/test_learning_candidates.py \
    evaluation/test_offpolicy.py evaluation/test_replications.py evaluation/test_ten_armed.py \
    evaluation/test_units.py models/engines models/runs/test_persistence.py \
    models/scenarios/test_arrays_and_stocks.py models/scenarios/test_dask_sweeps.py \
    models/scenarios/test_hostile.py models/scenarios/test_improvements.py \
    models/scenarios/test_model_data.py models/scenarios/test_restart.py \
    models/scenarios/test_sweep_jobs.py policies sandbox server storage/mongo storage/production \
    storage/redis storage/test_migrate.py test_warm.py

# What a change needs before a commit: the rest, on SQLite.
test-fast: $(VENV)/.installed-test $(CONSOLE)
	$(call TIMED,$(PAIRED) -m "not serial" --backend sqlite -k "not production and not cluster" \
	    $(SLOW:%=--ignore=tests/%))

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@if [ -d console/node_modules/typescript ]; then cd console && npx --no-install tsc -p .; else echo "console/: npm ci brings TypeScript, which checks its types"; fi

demo: $(VENV)/.installed-demo
	$(BIN)/python -m bench.demo

bench: $(VENV)/.installed-test $(VENV)/.installed-bench
	$(BIN)/python -m bench
	$(BIN)/python -m bench.simulation

faults: $(VENV)/.installed-test
	STREAMSIM_FAULTS=long $(BIN)/python -m pytest tests/faults

containers: $(VENV)/.installed-test
	STREAMSIM_CONTAINERS=1 $(BIN)/python -m pytest -rA tests/containers

docs: $(VENV)/.installed-docs
	@$(BIN)/python .ci/docs

dist: $(VENV)/.installed $(CONSOLE)
	@$(BIN)/python .ci/dist
	@$(BIN)/python .ci/smoke

lock: $(VENV)/.installed-test
	$(BIN)/python .ci/lock
	@$(PIP) --requirement requirements.lock
	$(BIN)/python .ci/sbom

pictures: $(VENV)/.installed-test $(CONSOLE)
	$(BIN)/python -m tests.console.pictures

clean:
	rm -rf $(VENV) console/node_modules streamsim/server/console build dist *.egg-info client/build client/*.egg-info
