"""With the installed packages, neither mmdet nor a slow package is imported before its use.

Four questions to one start of Python, which has imported what a command imports.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmmuse.compat.deferred_names import _SLOW

ROOT = Path(__file__).resolve().parents[2]
CLASSIFIER = 'configs/demo/resnet18_digits_mi_x_si.py'
DETECTOR = 'configs/detection/yolov5_n_bccd_mi_x_si.py'

START = f"""
import json, os, sys

def imported(*names):
    return [name for name in names if name in sys.modules]

def answer(**answers):
    print(json.dumps(answers), flush=True)

slow = {_SLOW!r}
from mmmuse.command_line.quick_imports import quick_imports
with quick_imports():
    from mmmuse.command_line.config import load_config
    import mmmuse, mmpretrain.models
answer(libraries=imported('mmdet.models', *slow, 'numba'))
"""
# A run's visualizer: before it draws, and after.
DRAWN = """
process = os.fork()
if process == 0:
    import numpy
    from mmengine.visualization import Visualizer
    options = dict(vis_backends=[dict(type='LocalVisBackend')], save_dir=sys.argv[1])
    visualizer = Visualizer.get_instance('run', **options)
    visualizer.add_scalar('loss', 1.0, 1)
    before = imported('matplotlib.figure')
    visualizer.set_image(numpy.zeros((4, 4, 3), 'uint8'))
    answer(before_drawing=before, after_drawing=imported('matplotlib.figure'))
    os._exit(0)
os.waitpid(process, 0)
"""
# A command, up to the first step of the training.
TRAINED = f"""
import mmmuse.commands.start as start
from mmmuse.commands import main

load = start._loaded

def stop(*args):
    answer(
        trained=type(args[0].runner.model).__name__,
        meanwhile=imported('mmdet', 'numba', 'pandas', 'transformers', 'imgaug'),
    )
    sys.stdout.flush()
    os._exit(0)

def loaded(*args):
    run = load(*args)
    from mmengine.runner import EpochBasedTrainLoop
    EpochBasedTrainLoop.run_iter = stop
    return run

process = os.fork()  # Which may import scikit-learn for its images.
if process == 0:
    start._loaded = loaded
    main('train', [{CLASSIFIER!r}, '--work-dir', sys.argv[1]])
os.waitpid(process, 0)
"""
BUILT = f"""
from mmengine.registry import MODELS
config = load_config({DETECTOR!r}, {{}})
MODELS.build(config.model)
import mmdet.datasets, mmdet.evaluation, mmdet.visualization
answer(with_detector=imported(*slow, 'numba'))
from mmdet.models.task_modules.assigners import hungarian_assigner
answer(assigned=hungarian_assigner.linear_sum_assignment([[2, 1], [1, 3]])[1].tolist())
head = MODELS.build(dict(type='mmdet.ResLayerExtraNorm', depth=50, norm_cfg=dict(type='BN')))
answer(same=type(head) is mmpretrain.models.ResLayerExtraNorm, channels=head.norm.num_features)
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def answers(tmp_path_factory) -> dict:
    finished = subprocess.run(
        [
            *(sys.executable, '-W', 'ignore', '-c', START + DRAWN + TRAINED + BUILT),
            str(tmp_path_factory.mktemp('trained') / 'run'),
        ],
        cwd=ROOT,
        env={'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1', 'PATH': os.environ['PATH']},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in finished.stdout.splitlines() if line.startswith('{"')]
    found = {key: value for line in lines for key, value in json.loads(line).items()}
    return {**found, 'errors': finished.stderr[-3000:]}


def test_what_a_command_imports_at_its_start_has_neither_mmdet_nor_a_slow_package(answers):
    assert answers.get('libraries') == [], answers


def test_a_classifier_is_trained_without_mmdet(answers):
    assert answers.get('trained') == 'SelfDistiller', answers
    assert answers['meanwhile'] == []


def test_a_runs_visualizer_imports_no_matplotlib_before_it_draws(answers):
    assert answers.get('before_drawing') == [], answers
    assert answers['after_drawing'] == ['matplotlib.figure']


def test_a_detector_and_its_data_import_no_slow_package_before_its_use(answers):
    assert answers.get('with_detector') == [], answers
    assert answers['assigned'] == [1, 0]


def test_a_detector_gets_the_shared_head_that_mmpretrain_defines(answers):
    assert answers.get('same') is True, answers
    # norm_cfg of the part is that of a layer: 64 channels, stage 3, expansion 4.
    assert answers['channels'] == 2048
