# Each target is one line over a command that works without make, once `make setup` has made .venv.
PYTHON ?= python3
BIN := .venv/bin
SYNC := $(BIN)/uv sync --locked --inexact --quiet
export UV_PROJECT_ENVIRONMENT := .venv
# Compiled files are kept, or each of the many processes of the tests would compile everything anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup serve test coverage check system bench demo

setup: .venv/for-development

serve: .venv/for-running
	$(BIN)/receiver serve --init

test: .venv/for-development
	$(BIN)/python -m pytest --ignore=tests/system -n auto --maxprocesses=4 --dist loadfile

# Apart, because it takes twice as long.
coverage: .venv/for-development
	$(BIN)/python -m pytest --ignore=tests/system --cov -n auto --maxprocesses=4 --dist loadfile

check: .venv/for-development
	$(BIN)/ruff format --check && $(BIN)/ruff check && $(BIN)/mypy && $(BIN)/lint-imports --no-logo && $(BIN)/uv lock --check && $(BIN)/hadolint Dockerfile

system: .venv/for-development
	$(BIN)/python -m pytest tests/system -n auto --maxprocesses=2 --dist worksteal

bench: .venv/for-benchmarks
	$(BIN)/python -m benchmarks && $(BIN)/python -m benchmarks.sending && $(BIN)/python -m benchmarks.relaying && $(BIN)/python -m benchmarks.asking && $(BIN)/python -m benchmarks.analysts

demo: .venv/for-running
	$(BIN)/receiver demo

# The stamps make a second call quick; a larger set of packages stands for the smaller ones too.
.venv/bin/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "receiver needs Python 3.11 or newer, for example: make PYTHON=python3.13")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.13,<0.14'

.venv/for-running: pyproject.toml uv.lock | .venv/bin/uv
	$(SYNC) --no-default-groups
	@touch $@

.venv/for-development: pyproject.toml uv.lock | .venv/bin/uv
	$(SYNC)
	@touch $@ .venv/for-running

.venv/for-benchmarks: pyproject.toml uv.lock | .venv/bin/uv
	$(SYNC) --all-groups
	@touch $@ .venv/for-development .venv/for-running
