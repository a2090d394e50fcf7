# make demo   the whole method on this machine, published to and loaded from a Hub of its own; a table, a picture, cards
# make test   the tests
# make lint   ruff and mypy
# make bench  speed and memory of ViT-B at 3 bits, and of a search among 2,000 vectors (minutes)

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint bench clean

demo: $(READY)
	rm -rf demo_hub
	HF_HOME=$(CURDIR)/demo_hub/home $(BIN)/python -m tests.hub_server --root demo_hub/server --user qvec-hub -- \
		$(BIN)/qvec demo --out demo_output --hub qvec-hub

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
	rm -rf $(VENV) demo_output demo_hub build .pytest_cache .ruff_cache .mypy_cache
