# Everything a newcomer, a developer and the CI type. `make help` lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ifneq ($(shell id -u),0)
SUDO := sudo
endif

# Some hundred processes begin in the course of the tests; none has to compile what another has compiled already.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test check format bench chaos fuzz soak clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

demo: $(VENV)/.runtime  ## render a street, run five tasks on it, write tables, video and report to demo/
	$(BIN)/plantain demo --out demo

test: $(VENV)/.dev  ## all tests; while some wait for cameras, brokers and Ray, others compute
	@# Bytecode and loops over pixels once, on two cores: else each process of the tests compiles them for itself.
	$(BIN)/python -m pytest -q --collect-only >/dev/null & $(BIN)/python -m tests.compiling && wait
	$(BIN)/python -m pytest -q -n 4 --dist loadfile --no-loadscope-reorder --durations=40 --durations-min=5

check: $(VENV)/.dev  ## format, lint, types, import rule, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) test

format: $(VENV)/.dev  ## format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.dev  ## one JSON line for each figure
	$(BIN)/python -m tests.bench

chaos: $(VENV)/.dev  ## the long form of the tests that kill, freeze and fill things, with their reports (an hour)
	PLANTAIN_CHAOS_TRIALS=200 PLANTAIN_CHAOS_LIVE_TRIALS=50 PLANTAIN_CHAOS_RAY_TRIALS=20 \
	PLANTAIN_CHAOS_RECOVERY_S=10 $(BIN)/python -m pytest -q -s -m chaos

fuzz: $(VENV)/.dev  ## ten thousand recordings of every sort, each read in every way (an hour)
	PLANTAIN_FIELD_INPUTS=10000 $(BIN)/python -m pytest -q tests/field/test_recordings.py

soak: $(VENV)/.dev  ## eight cameras for half an hour, killed at random, and their broker: books, memory, threads, files, disk
	PLANTAIN_SOAK_MINUTES=30 $(BIN)/python -m pytest -q -s -m soak

clean:  ## remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build *.egg-info

# Debian splits `venv` off Python; the wheels themselves need nothing from the system.
$(VENV)/bin/uv:
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "Plantain needs Python 3.11 or newer"'
	$(PYTHON) -c 'import ensurepip, venv' || $(SUDO) apt-get install -y --no-install-recommends python3-venv
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet 'uv>=0.9'

$(VENV)/.runtime: $(VENV)/bin/uv pyproject.toml constraints.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[serve]'
	touch $@

# Those of --no-deps ask for numpy below 2 and for web servers; operators/models/catalogue.py has them, too.
$(VENV)/.dev: $(VENV)/bin/uv pyproject.toml constraints.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[dev]'
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps \
		depth-anything-3==0.1.1 addict==2.4.0 einops==0.8.2 omegaconf==2.4.0 \
		dlr-moge==2.0.0 dlr-utils3d==1.3
	touch $@
