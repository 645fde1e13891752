# Everything happens in a virtual environment of the project's own; nothing else is needed on the
# machine than Python 3.10 or newer (PYTHON=python3.12 chooses another) and make, and, for the tests
# with Spark, Java 17 or newer.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
SETUP = $(VENV)/.complete
FRAMEWORKS = $(VENV)/.frameworks
PYTEST = -m pytest --numprocesses 2 --dist loadgroup
# Most modules of what is installed are never imported (oci alone has eighteen thousand): each is
# compiled when it is first used, and kept, in place of all of them now.
INSTALL = $(BIN)/python -m pip install --no-compile
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test test-core lint bench package clean

help:
	@echo 'make demo     train a model against the embedded service and read the runs back'
	@echo 'make test     lint, type-check, and run all tests; downloads ten training frameworks'
	@echo 'make test-core   the same without the frameworks and what is trained with them'
	@echo 'make lint     only the linters and the type checker'
	@echo 'make bench    side by side with the alternatives, 15 minutes and more; QUICK=1 takes two'
	@echo 'make package  build and check wheel and sdist'
	@echo 'make clean    remove what these commands made'

$(SETUP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
		|| { echo 'Python 3.10 or newer is needed: make PYTHON=python3.12 ...'; exit 1; }
	@echo '--- Setting up $(VENV): this takes a few minutes the first time'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --quiet --upgrade pip
	$(INSTALL) --editable '.[dev]'
	@touch $@

$(FRAMEWORKS): $(SETUP)
	@echo '--- Adding the frameworks that the tests train with: gigabytes, a few minutes'
	$(INSTALL) --editable '.[autolog]'
	@touch $@

demo: $(SETUP)
	$(BIN)/python examples/demo.py

lint: $(SETUP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test test-core: lint
	@rm -f .coverage .coverage.*
	$(BIN)/coverage run $(PYTEST) $(if $(filter test-core,$@),-m 'not autolog')
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --fail-under 95

# Beside lint, which comes first: what it finds need not wait for gigabytes.
test: $(FRAMEWORKS)

bench: $(SETUP)
	$(BIN)/python benchmarks/run.py $(if $(QUICK),--quick) $(if $(ROWS),--rows '$(ROWS)')

package: $(SETUP)
	rm -rf build dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*

clean:
	rm -rf $(VENV) build dist .demo .bench *.egg-info .coverage* .pytest_cache .mypy_cache .ruff_cache \
		.import_linter_cache .hypothesis
