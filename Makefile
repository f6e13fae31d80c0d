# Millrace, from a fresh checkout: needs make and Python 3.11 to 3.13, for Spark and the tests Java 17 or newer too, and makes the
# rest in .venv.
#
#   make demo        a few days of landed data, their nights, and where the report is; without Java
#   make setup       all that is needed, for Spark as well
#   make test        every check and every quick test: what .ci/run runs
#   make test-slow   the tests that take minutes
#   make bench       what a night of 0.2, 1 and 5 million events costs, beside DuckDB; EVENTS=200000 for one of them, RUNS=3
#   make cluster-demo  runs two nights on a bucket, a Spark cluster and Airflow on this machine, and stops them
#   make notebooks   opens the notebooks in JupyterLab, which is installed on first use; MILLRACE_LAKE=weeks/lake for another lake
#   make pages       four generated weeks in weeks/, and from them what docs/ shows: answers to questions, pictures of the notebooks
#   make airflow     Airflow in an environment of its own, .venv-airflow
#   make executors   what Spark's executors need on other machines, in dist/: Millrace as a zip, its dependencies as an archive
#   make lint        format, lint, types and layers alone
#   make lock        the locked versions again, from pyproject.toml; UPGRADE=--upgrade for newer ones
#   make clean       away with all that was made, but for landing/ and lake/
#
# Another Python for a fresh .venv: make setup PYTHON=python3.12

PYTHON ?= $(or $(wildcard .venv/bin/python),python3)
INSTALL = bin/python -m pip install --quiet --disable-pip-version-check --require-hashes

.PHONY: help setup demo cluster-demo test test-slow bench notebooks pages executors lint airflow lock clean machine python java

help:
	@sed -n 's/^#  //p' Makefile

setup: machine .venv/.spark

demo: .venv/.ready
	.venv/bin/millrace demo

cluster-demo: setup airflow
	PYTHONPATH=tests .venv/bin/python -m cluster_demo

# The promises (docs/promises.md) are kept on both engines; no engine takes part in a publication, which the slow tests kill anywhere.
PROMISES = tests/test_across_nights.py tests/test_landed_files.py tests/test_night.py

# Two processes, each with a session of its own, and each file of tests in one of them: two cores are busy, and what a file
# makes is made once.
PARALLEL = -n 2 --dist loadfile

# What these test is decided in functions that are the same on both engines. On Sail, their many nights take half the time; `make test-slow`
# runs them on Spark.
RULES = tests/test_allowlist.py tests/test_erasure.py tests/test_privacy.py tests/test_recorded_rules.py tests/test_repair.py \
	tests/test_retention.py

test: setup lint
	.venv/bin/pytest $(PARALLEL) $(addprefix --ignore=,$(RULES))
	.venv/bin/pytest $(PARALLEL) --engine sail $(PROMISES) $(RULES)

test-slow: setup lint
	.venv/bin/pytest -m slow
	.venv/bin/pytest $(PARALLEL) $(RULES)
	.venv/bin/pytest -m slow --engine sail -k "not killed_anywhere" $(PROMISES) tests/test_kills.py

bench: setup
	.venv/bin/python -m bench.bench $(addprefix --events ,$(EVENTS)) --runs $(or $(RUNS),3)

# Where Spark is set up, the notebooks have it, too.
notebooks: .venv/.notebooks
	.venv/bin/jupyter lab notebooks

# The calls are those of docs/tour.md. One of the notebooks starts Spark.
pages: setup
	rm -rf weeks
	.venv/bin/millrace generate --landing weeks/landing --from 2026-10-24 --to 2026-11-20 --events 1000
	.venv/bin/millrace rebuild --landing weeks/landing --lake weeks/lake
	PYTHONPATH=tests .venv/bin/python -m questions_page weeks/lake
	PYTHONPATH=tests .venv/bin/python -m executed_notebooks weeks/lake

# Nothing that set-up has installed is changed: the lock has only what is added to it.
.venv/.notebooks: requirements-notebooks.lock .venv/.ready
	.venv/$(INSTALL) --no-deps --only-binary :all: -r requirements-notebooks.lock
	touch $@

# Spark brings PySpark itself. The others are no part of a task, and large.
NOT_IN_TASKS = pyspark pysail great_expectations jupyterlab matplotlib scipy polars _polars_runtime_32 mypy moto botocore
DIST = dist

executors: setup
	rm -rf build/lib $(DIST)/millrace-*.whl $(DIST)/millrace.zip $(DIST)/environment.tar.gz
	.venv/bin/python -m pip wheel --quiet --disable-pip-version-check --no-index --no-deps --no-build-isolation --wheel-dir $(DIST) .
	mv $(DIST)/millrace-*.whl $(DIST)/millrace.zip
	.venv/bin/venv-pack --quiet --prefix .venv --output $(DIST)/environment.tar.gz --compress-level 1 --exclude '*/__pycache__/*' \
		--exclude '*/__editable__*' --exclude '*/share/jupyter/*' $(foreach package,$(NOT_IN_TASKS),--exclude '*/site-packages/$(package)/*')

lint: .venv/.ready
	.venv/bin/ruff format --quiet --check
	.venv/bin/ruff check --quiet
	.venv/bin/mypy
	.venv/bin/lint-imports --no-logo
	.venv/bin/pytest -q tests/test_rules_pages.py

# Checked every time, before anything is made: what lacks fails at once, and in one line.
machine: python java

python:
	@$(PYTHON) -c 'import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null || \
		{ echo 'Millrace needs Python 3.11, 3.12 or 3.13 with its venv module, and $(PYTHON) is not that: install one (Debian, Ubuntu: python3-venv) and name it: make setup PYTHON=python3.12' >&2; exit 2; }

# Without it Spark would fail late and at length.
java:
	@$(PYTHON) -m jobs.engine.java

# PySpark has no wheel. What builds it, setuptools, is installed first, and by hash too: left to itself, pip would fetch it unseen.
.venv/.ready: requirements.lock pyproject.toml | python
	@echo 'setting up .venv, once: a few minutes'
	.venv/bin/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	awk '/^setuptools==/,!/\\$$/' requirements.lock | .venv/$(INSTALL) -r /dev/stdin
	.venv/$(INSTALL) --no-build-isolation --use-pep517 -r requirements.lock
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-build-isolation -e .
	touch $@

# What Spark needs beside its packages.
.venv/.spark: .venv/.ready jobs/engine/delta_jars.py | java
	.venv/bin/python -m jobs.engine.delta_jars
	.venv/bin/python -m jobs.engine.class_archive
	touch $@

# Airflow pins versions that Millrace does not have, so it lives beside it, and calls `millrace` as it would anywhere.
airflow: .venv-airflow/.ready

.venv-airflow/.ready: requirements-airflow.lock | python
	$(PYTHON) -m venv --clear .venv-airflow
	.venv-airflow/$(INSTALL) --no-deps --only-binary :all: -r requirements-airflow.lock
	touch $@

# The Spark provider asks for the client of Spark Connect, which has no wheel. To submit a night needs neither it nor what it brings.
NO_SPARK_CONNECT = pyspark-client pandas pyarrow numpy

LOCK = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header $(UPGRADE)

# Read when it is used: after requirements.lock has been written.
LOCKED_ALREADY = $$(sed -n 's/^\([a-z0-9.-]*\)==.*/--no-emit-package \1/p' requirements.lock)

lock:
	@command -v uv >/dev/null || { echo 'make lock needs uv on the PATH: install it' >&2; exit 2; }
	$(LOCK) --extra dev --output-file requirements.lock pyproject.toml
	$(LOCK) --extra notebooks --constraints requirements.lock $(LOCKED_ALREADY) --output-file requirements-notebooks.lock pyproject.toml
	$(LOCK) --group airflow $(NO_SPARK_CONNECT:%=--no-emit-package %) --output-file requirements-airflow.lock

clean:
	rm -rf .venv .venv-airflow .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist *.egg-info spark-warehouse
