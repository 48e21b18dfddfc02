# `make demo` and `make test` are all a newcomer needs; both make .venv first. `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
KILLS ?= 500
SECONDS_EACH ?= 150
RUNS ?= 20000

DEMO_DATA := data/demo
DEMO_RUN := demo
DEMO_TILES := 12
TILES ?= 4 8 16

.PHONY: help demo test docs package pictures notebooks soak fuzz bench bench-scale lint format clean sample check preprocess train sweep evaluate restitch compare ablate report export models config
.DEFAULT_GOAL := help

help:  ## List the targets.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name it with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(VENV)/.installed  ## Sample tiles -> check -> preprocess -> train a network -> evaluate -> restitch.
	@test -d $(DEMO_DATA)/raw || $(BIN)/esdseg sample $(DEMO_DATA)/raw --tiles $(DEMO_TILES)
	@$(BIN)/esdseg check $(DEMO_DATA)/raw
	@$(BIN)/esdseg preprocess --raw-dir $(DEMO_DATA)/raw --processed-dir $(DEMO_DATA)/processed
	@rm -rf checkpoints/$(DEMO_RUN)
	@$(BIN)/esdseg train --config recipes/demo.yml --name $(DEMO_RUN)
	@$(BIN)/esdseg restitch --checkpoint $(DEMO_RUN) --processed-dir $(DEMO_DATA)/processed --tiles Tile1,Tile2 --name $(DEMO_RUN)-maps
	@$(BIN)/esdseg evaluate --checkpoint $(DEMO_RUN) --processed-dir $(DEMO_DATA)/processed --name $(DEMO_RUN)

# Python keeps its bytecode even where the environment says that it should not: the suite starts a hundred processes,
# each of which would compile the package anew.
test: $(VENV)/.installed  ## Run the test suite.
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --numprocesses auto --dist loadscope --no-loadscope-reorder $(ARGS)

soak: $(VENV)/.installed  ## Kill every command at random moments for ten minutes; KILLS and SECONDS_EACH say how much.
	OMP_NUM_THREADS=1 ESDSEG_KILLS=$(KILLS) ESDSEG_SOAK_SECONDS=$(SECONDS_EACH) $(BIN)/python -m pytest -s tests/faults/test_kills.py

bench: $(VENV)/.installed  ## Measure each step, beside a plain course's way and the least there is to do.
	$(BIN)/python -m benchmarks $(ARGS)

bench-scale: $(VENV)/.installed  ## Measure time and memory a tile as TILES="4 8 16" become more.
	$(BIN)/python -m benchmarks.scale $(TILES)

fuzz: $(VENV)/.installed  ## Try RUNS inputs that a fuzzer invents on each reader of strangers' texts.
	@for target in name config assignment manifest sweep; do \
	  echo "$$target"; OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzzing $$target $(RUNS) -verbosity=0 || exit 1; \
	done

lint: $(VENV)/.installed  ## Check format, style, types and the import contract.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed  ## Format the code and mend what can be mended.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.installed  ## Build the documentation into build/site, and check its links.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

package: $(VENV)/.installed  ## Build the wheel, and try it outside the checkout.
	.ci/package $(VENV)

pictures: demo  ## Make the pictures of the documentation anew, by the demo's network.
	@test -d $(DEMO_DATA)/scene || $(BIN)/esdseg sample $(DEMO_DATA)/scene --scene --size 24
	@$(BIN)/esdseg predict $(DEMO_RUN) $(DEMO_DATA)/scene/scenes --out predictions/$(DEMO_RUN)-area
	@$(BIN)/python docs/pictures.py predictions/$(DEMO_RUN) predictions/$(DEMO_RUN)-area

notebooks: $(VENV)/.installed  ## Run the notebooks of docs/notebooks on sample tiles.
	cd docs/notebooks && $(CURDIR)/$(BIN)/jupyter-execute *.ipynb

clean:  ## Remove the environment, caches and the demo's files.
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis *.egg-info build
	rm -rf docs/notebooks/notebook-data $(DEMO_DATA) data/bench checkpoints/$(DEMO_RUN) predictions/$(DEMO_RUN) predictions/$(DEMO_RUN)-maps predictions/$(DEMO_RUN)-area
	find esdseg tests -name __pycache__ -type d -prune -exec rm -rf {} +

sample check preprocess train sweep evaluate restitch compare ablate report export models config: $(VENV)/.installed  ## The subcommands, with ARGS="...".
	$(BIN)/esdseg $@ $(ARGS)
