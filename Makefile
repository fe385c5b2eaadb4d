# `make grade` grades the sample submissions, `make test` runs every test. Both set up .venv first if need be.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup grade test verify lint clean

help:
	@echo "make grade   grade the sample submissions into results/"
	@echo "make test    test the autograder, on its own courses and on this one"
	@echo "make verify  prove every module's suite: known mistakes, unusual right answers, cheats"
	@echo "make lint    check the style"
	@echo "make clean   remove the environment, the results and the caches"

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "set-up 1/2: the environment $(VENV), with $$($(PYTHON) --version)"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@echo "set-up 2/2: PyTorch and the rest, as pinned in constraints.txt (minutes, the first time)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt --no-compile -e '.[test,dev]'
	@$(BIN)/python -m compileall -qq -j 0 -x '/(tests|models)/' $(VENV)/lib || true # on all cores, which pip does on one; not every file is for this Python
	@touch $@

grade: $(READY)
	@$(BIN)/autograder grade autograder/samples/*/ --out results

test: $(READY)
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

verify: $(READY)
	@$(BIN)/autograder verify $(OPTIONS)

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/autograder ci lint

clean:
	rm -rf $(VENV) results build *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
