# make demo   the whole method on this machine, with a table and a picture
# make test   the tests
# make lint   ruff and mypy
# make bench  speed and memory of ViT-B at 3 bits, and of a search among 2,000 vectors (minutes)

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint bench clean

demo: $(READY)
	$(BIN)/qvec demo --out demo_output

test: $(READY)
	$(BIN)/python -m pytest -n 2

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python benchmarks/vit_b.py
	$(BIN)/python benchmarks/qat_step.py
	$(BIN)/python benchmarks/search.py

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) demo_output build .pytest_cache .ruff_cache .mypy_cache
