# make demo   the whole method on this machine, published to and loaded from a Hub of its own; a table, a figure, cards
# make test   the tests
# make test-numerics   those about numbers once more, as on a processor without AVX, with two threads
# make lint   ruff, mypy and import-linter
# make bench  speed and memory of ViT-B at 3 bits, and of a search among 2,000 vectors (minutes)

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# What must hold on every processor. PyTorch's own kernels then run as on one without AVX, or with
# ATEN_CPU_CAPABILITY=avx2 as on one without AVX-512.
NUMERICS := tests/grid tests/rounding tests/layers/test_packed_linear.py tests/backbone/test_conditions.py \
	tests/apply/test_criterion.py tests/apply/test_scale.py tests/loading/test_plugin.py tests/training/test_qat.py

.PHONY: demo test test-numerics lint bench clean

demo: $(READY)
	rm -rf demo_hub
	HF_HOME=$(CURDIR)/demo_hub/home $(BIN)/python -m tests.hub_server --root demo_hub/server --user qvec-hub -- \
		$(BIN)/qvec demo --out demo_output --hub qvec-hub

test: $(READY)
	$(BIN)/python -m pytest -n 2

test-numerics: $(READY)
	ATEN_CPU_CAPABILITY=$${ATEN_CPU_CAPABILITY:-default} QVEC_TEST_THREADS=2 OMP_WAIT_POLICY=passive \
		$(BIN)/python -m pytest -n 2 $(NUMERICS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

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
