# make demo   set everything up, train the digits network, check its gradients, draw the picture
# make test   set everything up, run the tests
# make lint   ruff and mypy          make check   lint and test
# make test-clang  the core built by Clang, without a warning, and the tests that look at its results; CLANG=clang++-19 takes another
# make fuzz   calls drawn at random, against exact arithmetic: SECONDS=600 SEED=1 BACKEND=native ISA=v3 FUNCTION='kl_*' ONLY=17
# make test-slow   rows of 1e8 and more (needs 16 GB), all of the sanitizers' sweep, what make test leaves out      make test-exp   exp over every float32
# make bench  the measurements that the documents quote, about two hours; `$(BIN)/python -m benchmarks speed` is a part of them
# make wheel  build one, and its size

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORE := pyproject.toml CMakeLists.txt tools/build_backend.py $(wildcard csrc/*)
CLANG ?= clang++
CLANG_DIR := build/$(notdir $(CLANG))
CLANG_TESTS := accuracy bits calls contract core losses losses_accuracy losses_bits
# Some tests wait, for a clock or a process: one job more than processors keeps these busy.
JOBS ?= $(shell echo $$(($$(nproc) + 1)))
SECONDS ?= 60
SEED ?= 0

.PHONY: demo test lint check fuzz test-clang test-slow test-exp bench wheel clean

demo: $(VENV)/installed $(VENV)/examples
	$(BIN)/python examples/digits.py

test: $(VENV)/pip
	@$(MAKE) --no-print-directory --jobs=2 $(VENV)/installed $(VENV)/tests $(VENV)/browser
	ONESUM_TEST_REQUIRE_CORE=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(JOBS) --dist worksteal

test-clang: $(CLANG_DIR)/installed
	ONESUM_TEST_REQUIRE_CORE=1 $(CLANG_DIR)/env/bin/python -m pytest -n $(JOBS) --dist worksteal $(CLANG_TESTS:%=tests/test_%.py)

fuzz: $(VENV)/installed $(VENV)/tests
	PYTHONPATH=tests $(BIN)/python -m fuzz --seconds $(SECONDS) --seed $(SEED) $(if $(BACKEND),--backend $(BACKEND)) \
	  $(if $(ISA),--isa $(ISA)) $(if $(FUNCTION),--functions '$(FUNCTION)') $(if $(ONLY),--only $(ONLY))

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

# Each stamp is a step of the set-up; the core is compiled again when its sources change. For the tests others are installed meanwhile: what both
# need is there before. Python compiles what is imported when it is; all of it, as pip would, takes a minute of a processor.
$(VENV)/pip:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/pip install --quiet --no-compile 'numpy>=2.1' 'array-api-compat>=1.11'
	@touch $@

$(VENV)/installed: $(VENV)/pip $(CORE)
	$(BIN)/pip install --quiet --no-compile --editable '.[array-api]'
	@touch $@

$(VENV)/examples: $(VENV)/pip pyproject.toml
	$(BIN)/pip install --quiet --no-compile 'matplotlib>=3.8' 'rich>=13' 'scikit-learn>=1.4'
	@touch $@

$(VENV)/tests $(VENV)/lint $(VENV)/bench: $(VENV)/pip pyproject.toml
	$(BIN)/pip install --quiet --no-compile --group $(if $(filter tests,$(@F)),test,$(@F))
	@touch $@

# Chromium, in which the explorer's page is tested: the one that is here or that ONESUM_TEST_BROWSER names, else Debian's and Ubuntu's where we may install it.
$(VENV)/browser: $(VENV)/tests
	@$(BIN)/python tests/browser.py > /dev/null 2>&1 || { test "$$(id -u)" = 0 && command -v apt-get > /dev/null && \
	  { apt-get install -y -qq chromium > /dev/null 2>&1 || { apt-get update -qq && apt-get install -y -qq chromium > /dev/null; }; }; } || true
	@$(BIN)/python tests/browser.py && touch $@ || true

# An environment that has its own onesum, and all else from the other one.
$(CLANG_DIR)/installed: $(VENV)/installed $(VENV)/tests $(CORE)
	@command -v $(CLANG) > /dev/null || { echo "$(CLANG) is not here: install it (Debian, Ubuntu: apt-get install clang), or name another with CLANG=..."; exit 1; }
	$(BIN)/python -m venv --without-pip $(CLANG_DIR)/env
	$(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" > $$($(CLANG_DIR)/env/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/others.pth
	CXX=$(CLANG) $(BIN)/pip --python $(CLANG_DIR)/env/bin/python install --quiet --no-build-isolation --no-deps --editable . \
	  -C wheel.cmake=true -C build-dir=$(CLANG_DIR)/core -C cmake.define.CMAKE_COMPILE_WARNING_AS_ERROR=ON
	@touch $@
