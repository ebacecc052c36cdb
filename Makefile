# The front door: make demo, make test, make check. Everything else is CMake (see CMakePresets.json).
BUILD := build/release
EFFLLM := $(BUILD)/effllm

.PHONY: all tests setup demo test check debug format lint strict analyze faults golden clean
all: $(BUILD)/build.ninja
	@cmake --build $(BUILD) --target effllm

# The program and all tests.
tests: $(BUILD)/build.ninja
	@cmake --build $(BUILD)

setup:
	@scripts/setup.sh

$(BUILD)/build.ninja: CMakeLists.txt
	@scripts/setup.sh
	@cmake --preset release > /dev/null

# One command from a fresh machine to a generated sample.
demo: all
	@scripts/demo.sh $(EFFLLM)

# All tests; ends with a line "N passed, N failed".
test: tests
	@scripts/test.sh $(BUILD)

# What a change must pass: no warning, format, layers, no name that nobody reads, configurations, tests, samples of tasks.
check: strict format lint test
	@scripts/fetch_data.sh kjv
	@$(EFFLLM) check $$(find configs -name '*.yaml')
	@scripts/check_tasks.py $(EFFLLM)
	@scripts/check_slurm.sh $(EFFLLM) || [ $$? -eq 3 ]

# Warnings are errors from now on in this build folder.
strict: $(BUILD)/build.ninja
	@cmake --preset release -DEFFLLM_WERROR=ON > /dev/null

# The whole suite under the address and undefined-behaviour sanitizers, with poisoned memory.
debug:
	@scripts/setup.sh
	@cmake --preset debug > /dev/null
	@cmake --build build/debug
	@scripts/test.sh build/debug

format:
	@clang-format-14 --dry-run --Werror $$(git ls-files '*.cpp' '*.h')

lint: tests
	@scripts/lint.sh $(BUILD)

# Clang's static analyzer: slow.
analyze: tests
	@scripts/lint.sh $(BUILD) '-*,clang-analyzer-core*,clang-analyzer-cplusplus*'

# Faults planted one at a time: which check catches each.
faults: tests
	@scripts/faults.py $(BUILD)

# Golden values of the tests, from the numpy transcriptions.
golden:
	@python3 scripts/golden/all.py
	@python3 scripts/golden/adamw.py
	@python3 scripts/golden/statistics.py
	@python3 scripts/golden/muon.py
	@python3 scripts/golden/lion.py
	@python3 scripts/golden/schedule_free.py
	@python3 scripts/golden/goldfish.py
	@python3 scripts/golden/masked_diffusion.py
	@python3 scripts/golden/masked_lm.py
	@python3 scripts/golden/prefix_lm.py
	@python3 scripts/golden/block_diffusion.py
	@python3 scripts/golden/uniform_diffusion.py
	@python3 scripts/golden/span_corruption.py
	@python3 scripts/golden/seq2seq.py
	@python3 scripts/golden/multi_token.py
	@python3 scripts/golden/early_exit.py

clean:
	@rm -rf build
