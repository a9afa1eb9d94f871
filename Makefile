# Everything runs in .venv, which is made on the first call.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# One thread a process: the demo and the tests run two at once, and more threads only get in each other's way.
export OMP_NUM_THREADS ?= 1
export TOKENIZERS_PARALLELISM = false
export HF_HUB_DISABLE_TELEMETRY = 1
export GRADIO_ANALYTICS_ENABLED = False

.PHONY: demo test test-slow quality clean

demo: $(VENV)/demo       ## the whole method on this machine, from nothing
	$(BIN)/hfdistill demo $(DEMO)

test: $(VENV)/dev        ## every test that takes less than minutes
	$(BIN)/pytest -n 2 --dist loadfile -m "not slow" $(TESTS)

test-slow: $(VENV)/dev   ## the long ones
	$(BIN)/pytest -m slow $(TESTS)

quality: $(VENV)/dev     ## lint and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:
	rm -rf $(VENV) demo runs build dist *.egg-info .pytest_cache .ruff_cache

$(VENV)/demo: pyproject.toml requirements/demo.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --requirement requirements/demo.txt
	$(BIN)/pip install --quiet --no-deps --editable .
	touch $@

$(VENV)/dev: $(VENV)/demo requirements/dev.txt
	$(BIN)/pip install --quiet --requirement requirements/dev.txt
	touch $@
