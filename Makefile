# make env | demo | test | test-fast | test-wheel | test-openmmlab | lint | docs | lock; needs Python >= 3.10 and pip.
# test-openmmlab, with OpenMMLab's own releases, needs Python 3.10 to 3.12 and 5 GB.
PYTHON ?= python3
VENV := .venv
DOCS_VENV := .venv-docs
UV := $(or $(shell command -v uv 2>/dev/null),.uv/bin/uv)
RUN := $(VENV)/bin/python

OPENMMLAB := .venv-openmmlab
# Of test-openmmlab-core: a file of each part of the package, chosen for a few minutes.
CORE := $(addprefix tests/, \
  test_import.py test_backbones/test_truncated.py test_checkpoints/test_files.py \
  test_checkpoints/test_restricted_unpickler.py test_checkpoints/test_mmengine_loading.py \
  test_compat/test_mmcv_ops.py test_datasets/test_digits.py test_detection/test_detection_exit.py \
  test_distillers/test_self_distiller.py test_distillers/test_offline.py test_distillers/test_online.py \
  test_export/test_onnx_detector.py test_functional/test_jsd.py test_heads/test_muse_head.py \
  test_hooks/test_student_checkpoint.py test_losses/test_muse_loss.py test_necks/test_self_distill_neck.py \
  test_optim/test_three_groups_constructor.py test_tapping/test_path_hooks.py test_tools/test_exits.py)

# Two processes of one thread each: more threads only wait for each other. A file is run by one process, so
# that fixtures of a module are made once, and the longest files come first, then those with slow tests (tests/slow.py).
PYTEST := -m pytest -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: env demo test test-fast test-wheel test-openmmlab test-openmmlab-core lint docs lock

env: $(VENV)/.synced

demo: env
	$(RUN) tools/demo.py

test: env
	OMP_NUM_THREADS=1 $(RUN) $(PYTEST)

# Without the tests that run a command, start a process or build a large network.
test-fast: env
	OMP_NUM_THREADS=1 $(RUN) $(PYTEST) -m "not slow and not wheel"

test-openmmlab: $(OPENMMLAB)/.synced
	OMP_NUM_THREADS=1 $(OPENMMLAB)/bin/python $(PYTEST)

test-openmmlab-core: $(OPENMMLAB)/.synced
	OMP_NUM_THREADS=1 $(OPENMMLAB)/bin/python $(PYTEST) $(CORE)

# The wheel in fresh environments, outside the clone; needs the package index or uv's cache. KIND=forks or
# KIND=originals for one of the two.
test-wheel: env $(UV)
	OMP_NUM_THREADS=1 UV="$(abspath $(UV))" $(RUN) -m pytest -m wheel $(if $(KIND),-k "sdist or $(KIND)") tests/test_wheel

lint: env
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

# The site in build/site; a warning is an error, and so is a page that loads anything from the network.
docs: $(DOCS_VENV)/.synced
	NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/mkdocs build --quiet --strict
	$(DOCS_VENV)/bin/python docs/builder/check_site.py build/site

lock: $(UV)
	$(UV) pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-header \
	  --extra stack --extra segmentation --extra export --extra completion --extra cluster \
	  --extra timm --extra transformers --group dev pyproject.toml -o requirements.lock
	$(UV) pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-header \
	  requirements-openmmlab.in -o requirements-openmmlab.lock
	$(UV) pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-header \
	  --group docs -o requirements-docs.lock

$(VENV)/.synced: requirements.lock pyproject.toml | $(UV)
	$(UV) venv --quiet --allow-existing --python "$$(command -v $(PYTHON))" $(VENV)
	VIRTUAL_ENV=$(VENV) $(UV) pip sync --quiet --compile-bytecode --require-hashes requirements.lock
	VIRTUAL_ENV=$(VENV) $(UV) pip install --quiet --no-deps --editable .
	touch $@

$(OPENMMLAB)/.synced: requirements-openmmlab.lock pyproject.toml | $(UV)
	$(UV) venv --quiet --allow-existing --python "$$(command -v $(PYTHON))" $(OPENMMLAB)
	VIRTUAL_ENV=$(OPENMMLAB) $(UV) pip sync --quiet --compile-bytecode --require-hashes requirements-openmmlab.lock
	VIRTUAL_ENV=$(OPENMMLAB) $(UV) pip install --quiet --no-deps --editable .
	touch $@

$(DOCS_VENV)/.synced: requirements-docs.lock | $(UV)
	$(UV) venv --quiet --allow-existing --python "$$(command -v $(PYTHON))" $(DOCS_VENV)
	VIRTUAL_ENV=$(DOCS_VENV) $(UV) pip sync --quiet --require-hashes requirements-docs.lock
	touch $@

.uv/bin/uv:
	$(PYTHON) -m pip install --quiet --target .uv uv
