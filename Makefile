# make env | demo | test | lint | docs | lock; needs Python >= 3.10 and pip.
PYTHON ?= python3
VENV := .venv
DOCS_VENV := .venv-docs
UV := $(or $(shell command -v uv 2>/dev/null),.uv/bin/uv)
RUN := $(VENV)/bin/python

.PHONY: env demo test lint docs lock

env: $(VENV)/.synced

demo: env
	$(RUN) tools/demo.py

# Two processes of one thread each: more threads only wait for each other.
test: env
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist loadfile

lint: env
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

# The site in build/site; a warning is an error, and so is a page that loads anything from the network.
docs: $(DOCS_VENV)/.synced
	NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/mkdocs build --quiet --strict
	$(DOCS_VENV)/bin/python docs/builder/check_site.py build/site

lock: $(UV)
	$(UV) pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-header \
	  --extra export --group dev pyproject.toml -o requirements.lock
	$(UV) pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-header \
	  --group docs -o requirements-docs.lock

$(VENV)/.synced: requirements.lock pyproject.toml | $(UV)
	$(UV) venv --quiet --allow-existing --python "$$(command -v $(PYTHON))" $(VENV)
	VIRTUAL_ENV=$(VENV) $(UV) pip sync --quiet --compile-bytecode --require-hashes requirements.lock
	VIRTUAL_ENV=$(VENV) $(UV) pip install --quiet --no-deps --editable .
	touch $@

$(DOCS_VENV)/.synced: requirements-docs.lock | $(UV)
	$(UV) venv --quiet --allow-existing --python "$$(command -v $(PYTHON))" $(DOCS_VENV)
	VIRTUAL_ENV=$(DOCS_VENV) $(UV) pip sync --quiet --require-hashes requirements-docs.lock
	touch $@

.uv/bin/uv:
	$(PYTHON) -m pip install --quiet --target .uv uv
