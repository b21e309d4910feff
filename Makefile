# make env | demo | test | test-wheel | lint | lock; needs Python >= 3.10 and pip.
PYTHON ?= python3
VENV := .venv
UV := $(or $(shell command -v uv 2>/dev/null),.uv/bin/uv)
RUN := $(VENV)/bin/python

.PHONY: env demo test test-wheel lint lock

env: $(VENV)/.synced

demo: env
	$(RUN) tools/demo.py

# Two processes of one thread each: more threads only wait for each other.
test: env
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist loadfile

# The wheel in fresh environments, outside the clone; needs the package index or uv's cache.
test-wheel: env $(UV)
	OMP_NUM_THREADS=1 UV="$(abspath $(UV))" $(RUN) -m pytest -m wheel tests/test_wheel

lint: env
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

lock: $(UV)
	$(UV) pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-header \
	  --extra stack --extra export --extra completion --group dev pyproject.toml -o requirements.lock

$(VENV)/.synced: requirements.lock pyproject.toml | $(UV)
	$(UV) venv --quiet --allow-existing --python "$$(command -v $(PYTHON))" $(VENV)
	VIRTUAL_ENV=$(VENV) $(UV) pip sync --quiet --compile-bytecode --require-hashes requirements.lock
	VIRTUAL_ENV=$(VENV) $(UV) pip install --quiet --no-deps --editable .
	touch $@

.uv/bin/uv:
	$(PYTHON) -m pip install --quiet --target .uv uv
