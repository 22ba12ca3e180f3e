# Self-documenting: `make` prints what there is.
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.complete
TEST ?=
# Others in benchmarks/ want models of yours.
BENCHMARKS ?= data_pipeline train_throughput demo

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow check format bench docs clean

help: ## what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## .venv with the tested versions (minutes, 4 GB; the others do this by themselves)
	@echo "$(VENV) is ready: $(BIN)/nemo-ext --help"

$(READY): pyproject.toml constraints.txt scripts/setup.sh
	@sh scripts/setup.sh $(VENV)

demo: $(READY) ## corpus, training, speech, and a page to listen to: out/demo/index.html (10 minutes on 2 cores)
	@$(BIN)/nemo-ext demo

test: $(READY) ## the tests, 15 minutes on 2 cores; TEST="tests/text -k german" runs some
	$(BIN)/python -m pytest $(TEST)

test-slow: $(READY) ## the long tests, too long for every day
	$(BIN)/python -m pytest -m slow $(TEST)

check: $(READY) ## ruff, types, floors, and that every YAML fits its dataclass
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m pytest tests/test_conf.py

format: $(READY) ## put the code in shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY) ## ours and stock NeMo's, measured in one run: benchmarks/*.md (wants NEMO_EXT_CORPORA)
	@for name in $(BENCHMARKS); do echo "== $$name"; $(BIN)/python benchmarks/$$name.py || exit 1; done

docs: $(READY) ## check that links in the documents lead somewhere
	$(BIN)/python -m pytest tests/test_house.py -k links

clean: ## remove what was made here, the environment too; out/ and your corpora stay
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
