import ast
import inspect
import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import mmmuse
from mmmuse.heads.head_arguments import HeadArguments

# Each step is done in the same process, which has imported nothing before the first.
STEPS = {
    'package': "import mmmuse\nanswer = 'SelfDistiller' in vars(mmmuse), *imported('torch')",
    'formulas': (
        'import mmmuse.functional, mmmuse.tapping.taps, mmmuse.tapping.dry_run\nanswer = libraries()'
    ),
    'registry': (
        'from mmengine.registry import MODELS\n'
        "answer = MODELS.build(dict(type='mmmuse.DonskerVaradhan', momentum=0.5)).momentum"
    ),
    'classification': (
        'from mmmuse.registry import HOOKS, METRICS, MODELS\n'
        "MODELS.get('mmmuse.SelfDistiller'), METRICS.get('mmmuse.ExitAccuracy')\n"
        "HOOKS.get('mmmuse.ClassCountHook'), MODELS.get('mmmuse.NoSuchPart')\n"
        "answer = 'mmseg.models' in sys.modules"
    ),
    'detection': (
        "MODELS.get('mmmuse.DetectionExit'), METRICS.get('mmmuse.ExitDetectionMetric')\n"
        "answer = imported('mmdet.models', 'mmseg.models')"
    ),
    'mmdet': (
        'import mmdet.models\nfrom mmcv.ops import nms, DeformConv2d\nanswer = DeformConv2d.__name__'
    ),
    # Last, as mmseg cannot be imported from here on.
    'no_mmseg': (
        "assert not imported('mmseg')\nsys.modules['mmseg'] = None\n"
        'from mmmuse.environment.requirements import check_library\n'
        'from mmmuse.errors import InputError\n'
        'answer = []\n'
        "for act in (lambda: MODELS.get('mmmuse.SegmentationSelfDistiller'),"
        " lambda: check_library('mmseg')):\n"
        '    try:\n'
        '        act()\n'
        '    except InputError as error:\n'
        '        answer.append(str(error))\n'
        "answer += [check_library('mmdet'), MODELS.get('mmmuse.SelfDistiller').__name__]"
    ),
}
FRESH = """
import json, sys, traceback

def imported(*names):
    return [name for name in names if name in sys.modules]

def libraries():
    return imported('mmdet', 'torchvision', 'mmpretrain')

answers = {}
for name, step in json.loads(sys.argv[1]).items():
    try:
        exec(step)
        answers[name] = answer, libraries()
    except Exception:
        answers[name] = traceback.format_exc(), libraries()
print(json.dumps(answers))
"""


@pytest.fixture(scope='module')
def fresh() -> dict[str, list]:
    """The answer of each step in a new process, and the libraries that are imported after it."""
    finished = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', FRESH, json.dumps(STEPS)],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(finished.stdout.splitlines()[-1])


@pytest.mark.slow
def test_importing_the_package_imports_no_model_library_and_no_public_name(fresh):
    assert fresh['package'] == [[False], []]


@pytest.mark.slow
def test_the_formulas_and_taps_need_torch_alone(fresh):
    assert fresh['formulas'] == [[], []]


@pytest.mark.slow
def test_mmengine_finds_the_registered_parts_by_itself(fresh):
    assert fresh['registry'][0] == 0.5


@pytest.mark.slow
def test_mmdet_is_imported_after_mmmuse(fresh):
    assert fresh['mmdet'][0] == 'DeformConv2d'


@pytest.mark.slow
def test_classification_and_detection_import_no_mmseg(fresh):
    pytest.importorskip('mmdet')
    assert fresh['classification'][0] is False
    assert fresh['detection'][0] == ['mmdet.models']


@pytest.mark.slow
def test_a_config_that_needs_mmseg_names_the_extra_where_it_is_missing(fresh):
    found = fresh['no_mmseg'][0]
    assert found[0].startswith(
        'mmmuse.SegmentationSelfDistiller needs mmseg, which cannot be imported (No module named '
        "'mmseg.datasets'; 'mmseg' is not a package): pip install"
    )
    assert found[1].startswith("the config is for mmseg (default_scope = 'mmseg'), which is not")
    assert all('[segmentation]' in line or 'mmsegmentation' in line for line in found[:2])
    assert found[2:] == [None, 'SelfDistiller']


def test_scikit_learn_is_imported_only_where_it_is_used():
    """A module that imports it when it is itself imported would make every model need it."""
    package = Path(__file__).resolve().parents[1] / 'mmmuse'
    texts = {path: path.read_text() for path in package.rglob('*.py')}
    users = {path: text for path, text in texts.items() if 'from sklearn' in text}
    assert {path.name for path in users} == {'digits.py', 'anchors.py'}
    for path, text in users.items():
        at_the_top = [ast.unparse(node) for node in ast.parse(text).body]
        assert not any(
            line.startswith(('from sklearn', 'import sklearn')) for line in at_the_top
        ), path


@pytest.mark.parametrize('name', mmmuse.__all__)
def test_every_public_name_exists_and_is_listed(name):
    assert getattr(mmmuse, name) is not None
    assert name in dir(mmmuse)


def test_type_checkers_see_the_names_that_are_imported_lazily():
    tree = ast.parse(Path(mmmuse.__file__).read_text())
    (guarded,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: part.module
        for part in guarded.body
        if isinstance(part, ast.ImportFrom)
        for alias in part.names
    }
    assert seen.keys() == mmmuse._LAZY.keys()
    assert {*seen, 'InputError', 'MMMuseError', '__version__'} == {*mmmuse.__all__}
    for name, module in seen.items():
        found = import_module(f'mmmuse.{module}')
        assert getattr(found, name) is getattr(mmmuse, name)


def test_the_package_is_marked_as_typed():
    assert Path(mmmuse.__file__).with_name('py.typed').is_file()


def test_the_typed_keywords_of_distill_are_the_arguments_of_the_head():
    arguments = set(inspect.signature(mmmuse.MUSEHead.__init__).parameters) - {'self', 'specs'}
    assert HeadArguments.__annotations__.keys() == arguments


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'mmmuse' has no attribute 'SelfDistill'"):
        _ = mmmuse.SelfDistill


def test_a_detector_without_mmdet_says_what_is_missing(monkeypatch):
    monkeypatch.delattr('mmmuse.detection.DetectionSelfDistiller')
    with pytest.raises(ImportError, match=r'mmmuse\.DetectionSelfDistiller needs mmdet'):
        _ = mmmuse.DetectionSelfDistiller


def test_a_segmenter_without_mmseg_says_what_is_missing(monkeypatch):
    pytest.importorskip('mmseg')
    monkeypatch.delattr('mmmuse.segmentation.SegmentationSelfDistiller')
    with pytest.raises(ImportError, match=r'mmmuse\.SegmentationSelfDistiller needs mmseg'):
        _ = mmmuse.SegmentationSelfDistiller


def test_a_fault_inside_a_part_keeps_its_own_message(monkeypatch):
    monkeypatch.setitem(mmmuse._LAZY, 'Edge', 'version')  # A module that has no such name.
    with pytest.raises(AttributeError, match=r"module 'mmmuse\.version' has no attribute 'Edge'"):
        mmmuse.__getattr__('Edge')
