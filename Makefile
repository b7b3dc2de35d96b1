# make train [TASK=Reach-Franka] [ARGS="--seed 1 agent.max_iterations=50"]
# make test
TASK ?= Reach-Franka
ARGS ?=
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: train test lint clean

train: $(VENV)/.installed
	$(BIN)/palestra train $(TASK) $(ARGS)

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -c constraints.txt -e .
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt $(VENV)/.installed
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV)
