# Each target does its own set-up in .venv; all they need is Python 3.11 or newer, and make.

PYTHON ?= python3
BIN := .venv/bin

# Tests are spread over the processors. Those of a group stay together, for what they share.
PYTEST := $(BIN)/python -m pytest --numprocesses=auto --dist=loadgroup

.PHONY: help demo test torch faults lint bench wheel clean

help:
	@echo "make demo    train, be killed, resume, look: the whole story in half a minute"
	@echo "make test    every test"
	@echo "make torch   install PyTorch here, for the tests that need it"
	@echo "make faults  kill processes, cut the power, flip bits, thousands of times"
	@echo "make lint    style and types"
	@echo "make bench   measure, with ten others beside us, and write benchmarks/RESULTS.md"
	@echo "make wheel   build the wheel and try it, away from the checkout"
	@echo "make clean   remove what the others made"

# A stamp for each set of extras, so that pyproject.toml is installed again when it changes.
.venv/installed-%: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

# No extra: for most, PyTorch is a download of gigabytes, and all but a few tests do without.
.venv/installed-torch: .venv/installed-test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	@touch $@

demo: .venv/installed-demo
	$(BIN)/traininglog demo

test: .venv/installed-test
	$(PYTEST)

torch: .venv/installed-torch

# The tests run a few dozen trials of these each time; here are very many.
faults: .venv/installed-test
	TESTS_TRIALS=2000 TESTS_IMAGES=1000 TESTS_FLIPS=500 TESTS_LONG=1 \
		$(PYTEST) tests/faults

lint: .venv/installed-test .venv/installed-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --strict tests/typing/api.py

bench: .venv/installed-test
	$(BIN)/python benchmarks/run.py

wheel: .venv/installed-lint
	$(BIN)/python tests/try_wheel.py

clean:
	rm -rf .venv benchmarks/.venvs dist build demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
