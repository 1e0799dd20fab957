# make demo   set everything up, train the digits network, check its gradients, draw the picture
# make test   set everything up, run the tests
# make lint   ruff and mypy          make check   lint and test
# make test-slow   rows of 1e8 and more (needs 16 GB)      make test-exp   exp over every float32
# make bench  the measurements that the documents quote, about two hours; `$(BIN)/python -m benchmarks speed` is a part of them
# make wheel  build one, and its size

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORE := pyproject.toml CMakeLists.txt $(wildcard csrc/*)
JOBS ?= $(shell nproc)

.PHONY: demo test lint check test-slow test-exp bench wheel clean

demo: $(VENV)/installed $(VENV)/examples
	$(BIN)/python examples/digits.py

test: $(VENV)/installed $(VENV)/tests
	ONESUM_TEST_REQUIRE_CORE=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal

test-slow: $(VENV)/installed $(VENV)/tests
	ONESUM_TEST_REQUIRE_CORE=1 $(BIN)/python -m pytest -m slow -v

test-exp: $(VENV)/installed
	$(BIN)/python tools/exhaustive_exp.py

lint: $(VENV)/lint $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint test

bench: $(VENV)/installed $(VENV)/bench
	$(BIN)/python -m benchmarks

wheel: $(VENV)/pip
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .
	@ls -l dist/*.whl

clean:
	rm -rf $(VENV) build dist

# Each stamp is a step of the set-up; the core is compiled again when its sources change.
$(VENV)/pip:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/installed: $(VENV)/pip $(CORE)
	$(BIN)/pip install --quiet --editable '.[array-api]'
	@touch $@

$(VENV)/examples: $(VENV)/pip pyproject.toml
	$(BIN)/pip install --quiet 'matplotlib>=3.8' 'rich>=13' 'scikit-learn>=1.4'
	@touch $@

$(VENV)/tests $(VENV)/lint $(VENV)/bench: $(VENV)/pip pyproject.toml
	$(BIN)/pip install --quiet --group $(if $(filter tests,$(@F)),test,$(@F))
	@touch $@
