# Two commands do everything on a fresh clone: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help setup demo test test-slow test-kafka test-examples test-spark kafka-jars check format bench lock clean

help: ## what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

setup: .venv/installed ## make .venv and install everything that the lock file names

.venv/installed: pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "driftline needs Python 3.11 or newer: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable '.[dev]'
	@touch $@

demo: setup ## replay the 2013 New York flights and keep serving the results
	$(BIN)/driftline demo

test: setup ## the tests, in a few minutes, on a real PostgreSQL
	$(BIN)/python -m pytest -m "not slow and not kafka and not examples and not spark"

test-slow: setup ## the tests that take minutes: SIGKILL at random moments, simulations
	$(BIN)/python -m pytest -m "slow and not kafka"

test-kafka: setup .kafka/installed ## the tests on Apache Kafka (needs Java 17 or newer, and Maven)
	$(BIN)/python -m pytest -m kafka

test-examples: setup ## the examples whose libraries need an environment of their own (2 GB in .venv-examples/)
	$(BIN)/python -m pytest tests/test_examples.py -m examples

test-spark: setup ## the example on PySpark (needs Java 17 or newer; 1 GB)
	$(BIN)/python -m pytest tests/test_examples.py -m spark

kafka-jars: .kafka/installed ## fetch the jars of Apache Kafka into .kafka/

.kafka/installed: tests/kafka/pom.xml
	rm -rf .kafka
	mvn --batch-mode --quiet --file $< dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/.kafka
	@touch $@

check: setup ## lint, format, strict types, the import rule
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_imports.py

format: setup ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup ## the benchmarks, with their budgets: some half an hour on a quiet machine
	$(BIN)/python benchmarks/compare.py
	$(BIN)/python benchmarks/api.py
	$(BIN)/python benchmarks/calibration.py
	$(BIN)/python benchmarks/false_positives.py
	$(BIN)/python benchmarks/weighted.py
	$(BIN)/python benchmarks/sampling.py
	$(BIN)/python benchmarks/estimate.py
	$(BIN)/python benchmarks/performance.py
	$(BIN)/python benchmarks/alert_engine.py
	$(BIN)/python benchmarks/alert_latency.py
	$(BIN)/python benchmarks/false_alarms.py

lock: setup ## write requirements.lock anew from pyproject.toml
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev pyproject.toml -o requirements.lock

clean: ## remove what was built and installed
	rm -rf .venv .venv-examples .kafka .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist src/*.egg-info
