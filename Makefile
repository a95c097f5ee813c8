# Each target does its own set-up in .venv; all they need is Python 3.11 or newer, and make.
# Another Python has an environment of its own: make quick PYTHON=python3.13 VENV=.venv-3.13

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Elsewhere than on a terminal pip is quiet; there it shows what it loads.
PIP := quiet=--quiet; if test -t 1; then quiet=; fi; \
	$(BIN)/python -m pip install $$quiet --disable-pip-version-check

# Tests are spread over the processors. Those of a group stay together, for what they share. At the
# end it says which were skipped, and why.
PYTEST := $(BIN)/python -m pytest --numprocesses=auto --dist=loadgroup -rs

.PHONY: help demo test quick newest oldest torch faults lint docs graph bench wheel clean

help:
	@echo "make demo    train, be killed, resume, look: the whole story in half a minute"
	@echo "make test    every test"
	@echo "make quick   the fast tests, in a few minutes"
	@echo "make newest  the fast tests on the newest Python here, with the newest of all it needs"
	@echo "make oldest  the fast tests on the oldest Python here, with the oldest of all it needs"
	@echo "make torch   install PyTorch here, for the tests that need it"
	@echo "make faults  kill processes, cut the power, flip bits, thousands of times"
	@echo "make lint    style and types"
	@echo "make docs    build the documentation as a site, in build/docs"
	@echo "make graph   draw the rooms of the package, for the documentation"
	@echo "make bench   measure, with ten others beside us, and write benchmarks/RESULTS.md"
	@echo "make wheel   build the wheel and try it, away from the checkout"
	@echo "make clean   remove what the others made"

# A stamp for each set of extras, so that pyproject.toml is installed again when it changes.
$(VENV)/installed-%: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	@echo "Installing traininglog[$*] into $(VENV): a minute or two, this once."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) $(INSTALL_OPTIONS) --editable '.[$*]'
	@touch $@

# No extra: for most, PyTorch is a download of gigabytes, and all but a few tests do without.
$(VENV)/installed-torch: $(VENV)/installed-test
	@echo "Installing PyTorch into $(VENV): a download of up to gigabytes, this once."
	@$(PIP) torch==2.13.0
	@touch $@

demo: $(VENV)/installed-demo
	$(BIN)/traininglog demo

test: $(VENV)/installed-test
	$(PYTEST)

quick: $(VENV)/installed-test
	$(PYTEST) -m 'not slow'

# Each of these two has an environment of its own, and no PyTorch in it.
newest:
	python=$$($(PYTHON) tests/pythons.py newest) && \
	version=$$($$python -c 'import sys; print("{}.{}".format(*sys.version_info))') && \
	$(MAKE) quick PYTHON=$$python VENV=.venv-$$version \
		INSTALL_OPTIONS='--upgrade --upgrade-strategy=eager'

oldest:
	python=$$($(PYTHON) tests/pythons.py oldest) && \
	$$python tests/oldest.py > .venv-oldest.txt && \
	$(MAKE) quick PYTHON=$$python VENV=.venv-oldest INSTALL_OPTIONS=--constraint=.venv-oldest.txt

torch: $(VENV)/installed-torch

# The tests run a few dozen trials of these each time; here are very many.
faults: $(VENV)/installed-test
	TESTS_TRIALS=2000 TESTS_IMAGES=1000 TESTS_FLIPS=500 TESTS_CRAFTED=1000 TESTS_LONG=1 \
		$(PYTEST) tests/faults tests/loop/test_signal_matrix.py

lint: $(VENV)/installed-test $(VENV)/installed-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --strict tests/typing/api.py

# A warning is an error: a link that leads nowhere, a name that is not there.
docs: $(VENV)/installed-docs
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet docs build/docs
	@echo "The pages: build/docs/index.html"

graph: $(VENV)/installed-test
	$(BIN)/python tests/rooms.py

bench: $(VENV)/installed-test
	$(BIN)/python benchmarks/run.py

wheel: $(VENV)/installed-lint
	$(BIN)/python tests/try_wheel.py

clean:
	rm -rf .venv .venv-* benchmarks/.venvs dist build demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
