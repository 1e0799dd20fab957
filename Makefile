# make demo   set everything up, train the digits network, check its gradients, draw the picture
# make test   set everything up, run the tests
# make lint   ruff, clang-format and mypy         make check   lint, test and docs
# make test-clang  the core built by Clang, without a warning, and the tests that look at its results; CLANG=clang++-19 takes another
# make fuzz   calls drawn at random, against exact arithmetic: SECONDS=600 SEED=1 BACKEND=native ISA=v3 FUNCTION='kl_*' ONLY=17
# make test-sanitized   the core under the sanitizers: kernels, bindings, pool, memory (six minutes)
# make test-slow   rows of 1e8 and more (needs 16 GB), the sanitizers, and all else that make test leaves out      make test-exp   exp over every float32
# make proofs   the error of exp, and of the last steps of softmax and log_softmax, for all arguments, by Gappa and Sollya (four minutes)
# make bench  the measurements that the documents quote, about two hours; `$(BIN)/python -m benchmarks speed` is a part of them
# make docs   the documentation as a site, build/docs/index.html; a warning is an error      make gallery  its pictures
# make wheel  build one, and its size      make sdist  the sources, as they are released
# make test-neon  the kernels for arm64, compiled by a cross compiler and swept through under qemu; their bits are those of x86-64-v3

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORE := pyproject.toml CMakeLists.txt tools/build_backend.py $(wildcard csrc/*/*)
CLANG ?= clang++
CLANG_DIR := build/$(notdir $(CLANG))
NEON_CXX ?= aarch64-linux-gnu-g++
NEON_RUN ?= qemu-aarch64 -L /usr/aarch64-linux-gnu
NEON_DIR := build/neon
# Some tests wait, for a clock or a process: one job more than processors keeps these busy.
JOBS ?= $(shell echo $$(($$(nproc) + 1)))
SECONDS ?= 60
SEED ?= 0

.PHONY: demo test lint check fuzz test-clang test-neon neon-bits test-sanitized test-slow test-exp proofs bench docs gallery wheel sdist clean

demo: $(VENV)/installed $(VENV)/examples
	$(BIN)/python examples/digits.py

test: $(VENV)/pip
	@$(MAKE) --no-print-directory --jobs=2 $(VENV)/installed $(VENV)/tests $(VENV)/browser
	ONESUM_TEST_REQUIRE_CORE=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(JOBS) --dist worksteal

test-clang: $(CLANG_DIR)/installed
	ONESUM_TEST_REQUIRE_CORE=1 $(CLANG_DIR)/env/bin/python tests/numpy_alone.py -n $(JOBS) --dist worksteal

# Needs no Python for arm64: the sweep is C++ alone. What is computed there has the bits of every machine with a fused multiply-add.
SWEEP := $(BIN)/cmake -G Ninja -S . -DCMAKE_MAKE_PROGRAM=$(abspath $(BIN))/ninja -DONESUM_MODULE=OFF -DONESUM_SMALL_THRESHOLDS=ON
test-neon: $(VENV)/tests
	@for tool in "$(NEON_CXX)" "$(firstword $(NEON_RUN))"; do command -v "$$tool" > /dev/null || { echo "$$tool is not here: install it \
	  (Debian, Ubuntu: apt-get install g++-aarch64-linux-gnu qemu-user), or name others with NEON_CXX=... NEON_RUN=..."; exit 1; }; done
	$(SWEEP) -B $(NEON_DIR) -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCMAKE_CXX_COMPILER=$(NEON_CXX) -DCMAKE_COMPILE_WARNING_AS_ERROR=ON
	$(BIN)/cmake --build $(NEON_DIR) --target kernel_sweep
	$(NEON_RUN) $(NEON_DIR)/kernel_sweep
	@if grep -qw fma /proc/cpuinfo && grep -qw avx2 /proc/cpuinfo; then $(MAKE) --no-print-directory neon-bits; \
	  else echo "This machine is no x86-64-v3: there are no bits to compare those of arm64 with."; fi

neon-bits:
	$(SWEEP) -B $(NEON_DIR)/x86-64 -DONESUM_ISAS=v3
	$(BIN)/cmake --build $(NEON_DIR)/x86-64 --target kernel_sweep
	$(NEON_DIR)/x86-64/kernel_sweep --digest v3 | cut -d' ' -f2- > $(NEON_DIR)/bits-x86-64
	$(NEON_RUN) $(NEON_DIR)/kernel_sweep --digest neon | cut -d' ' -f2- > $(NEON_DIR)/bits-neon
	@test -s $(NEON_DIR)/bits-neon && diff $(NEON_DIR)/bits-x86-64 $(NEON_DIR)/bits-neon && \
	  echo "arm64 computes as x86-64-v3 does: $$(wc -l < $(NEON_DIR)/bits-neon) digests agree"

fuzz: $(VENV)/installed $(VENV)/tests
	PYTHONPATH=tests $(BIN)/python -m fuzz --seconds $(SECONDS) --seed $(SEED) $(if $(BACKEND),--backend $(BACKEND)) \
	  $(if $(ISA),--isa $(ISA)) $(if $(FUNCTION),--functions '$(FUNCTION)') $(if $(ONLY),--only $(ONLY))

test-sanitized: $(VENV)/installed $(VENV)/tests
	ONESUM_TEST_REQUIRE_CORE=1 $(BIN)/python -m pytest -m slow -n $(JOBS) tests/test_core_build.py tests/test_memory.py tests/test_threads.py

test-slow: $(VENV)/installed $(VENV)/tests
	ONESUM_TEST_REQUIRE_CORE=1 $(BIN)/python -m pytest -m slow -v

test-exp: $(VENV)/installed
	$(BIN)/python tools/exhaustive_exp.py

# Needs no package of Python's.
proofs:
	$(PYTHON) tools/proofs/prove.py

lint: $(VENV)/lint $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run -Werror $(wildcard csrc/*/*.h csrc/*/*.cpp tests/*.cpp tests/sweep/*.h)
	$(BIN)/mypy

check: lint test docs

bench: $(VENV)/installed $(VENV)/bench
	$(BIN)/python -m benchmarks

docs: $(VENV)/installed $(VENV)/docs
	rm -rf docs/reference/generated
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs
	@echo build/docs/index.html

gallery: $(VENV)/installed $(VENV)/examples
	$(BIN)/python tools/gallery.py

wheel: $(VENV)/pip
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .
	@$(BIN)/python tools/check_wheels.py dist/*.whl

sdist: $(VENV)/pip
	$(BIN)/pip install --quiet --no-compile build
	$(BIN)/python -m build --sdist --outdir dist .
	@ls -l dist/*.tar.gz

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

$(VENV)/tests $(VENV)/lint $(VENV)/bench $(VENV)/docs: $(VENV)/pip pyproject.toml
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
