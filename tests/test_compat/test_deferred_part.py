"""The commands import mmdet only if it is used; here with small packages of the same structure.

With the installed ones: ``test_installed_packages``.
"""

import pytest

FILES = {
    'mmpretrain/__init__.py': '',
    'mmpretrain/models/__init__.py': 'from .utils import *\nfrom .utils import channel_shuffle\n',
    'mmpretrain/models/utils/__init__.py': (
        'from .res_layer_extra_norm import ResLayerExtraNorm\n'
        'channel_shuffle = 1\n'
        "__all__ = ['ResLayerExtraNorm', 'channel_shuffle']\n"
    ),
    'mmpretrain/models/utils/res_layer_extra_norm.py': (
        'try:\n'
        '    from mmdet.models.backbones import ResNet\n'
        '    from mmdet.registry import MODELS\n'
        '    class ResLayerExtraNorm(ResNet):\n'
        '        pass\n'
        "    MODELS['ResLayerExtraNorm'] = ResLayerExtraNorm\n"
        'except ImportError:\n'
        '    ResLayerExtraNorm = None\n'
    ),
}
MMDET = {
    'mmdet/__init__.py': '',
    'mmdet/registry.py': 'MODELS = {}\n',
    'mmdet/models/__init__.py': 'from .backbones import ResNet\n',
    'mmdet/models/backbones.py': 'class ResNet:\n    pass\n',
}
START = 'import sys\nfrom mmmuse.compat.deferred_part import defer_part_of_mmdet\n'
DEFERRED = f'{START}defer_part_of_mmdet()\nimport mmpretrain.models\n'
USED = "print('mmdet.models' in sys.modules)\n"


pytestmark = pytest.mark.slow


@pytest.fixture
def printed(printed_with):
    return lambda program, files=FILES | MMDET: printed_with(program, files)


def test_models_are_imported_without_mmdet(printed):
    assert printed(DEFERRED + 'print(mmpretrain.models.channel_shuffle)\n' + USED) == ['1', 'False']


def test_without_the_call_mmpretrain_imports_mmdet_as_ever(printed):
    assert printed(f'{START}import mmpretrain.models\n{USED}') == ['True']


@pytest.mark.parametrize(
    'read',
    [
        'from mmpretrain.models.utils import ResLayerExtraNorm as part',
        'from mmpretrain.models import ResLayerExtraNorm as part',
        'part = mmpretrain.models.utils.res_layer_extra_norm.ResLayerExtraNorm',
        'from mmpretrain.models.utils import *\npart = ResLayerExtraNorm',
        'part = getattr(mmpretrain.models.utils, "ResLayerExtraNorm", None)',
    ],
)
def test_whoever_reads_the_class_gets_it(printed, read):
    same = 'import mmdet.models\nprint(part.__mro__[1] is mmdet.models.ResNet)\n'
    one = 'print(part is mmpretrain.models.ResLayerExtraNorm is mmpretrain.models.utils.ResLayerExtraNorm)\n'
    assert printed(f'{DEFERRED}{USED}{read}\n{same}{one}') == ['False', 'True', 'True']


@pytest.mark.parametrize('imported', ['mmdet.models', 'mmdet.models.backbones'])
def test_a_detector_finds_the_class_registered(printed, imported):
    program = f'import {imported}, mmdet.registry\nprint(*mmdet.registry.MODELS)\n'
    assert printed(DEFERRED + program) == ['ResLayerExtraNorm']


def test_nothing_is_deferred_if_mmdet_has_been_imported(printed):
    program = f'{START}import mmdet.models\ndefer_part_of_mmdet()\nimport mmpretrain.models\n'
    program += "print(vars(mmpretrain.models)['ResLayerExtraNorm'].__name__)\n"
    assert printed(program) == ['ResLayerExtraNorm']


def test_without_mmdet_the_class_is_none_as_in_mmpretrain(printed):
    program = "print(vars(mmpretrain.models)['ResLayerExtraNorm'])\n"
    assert printed(f"import sys\nsys.modules['mmdet'] = None\n{DEFERRED}{program}") == ['None']


def test_an_mmdet_that_cannot_be_imported_is_none_too(printed):
    broken = {'mmdet/models/__init__.py': "raise ImportError('no compiled ops')\n"}
    program = 'print(mmpretrain.models.ResLayerExtraNorm)\n'
    assert printed(DEFERRED + program, FILES | MMDET | broken) == ['None']


def test_another_name_is_as_missing_as_before(printed):
    program = (
        "print(hasattr(mmpretrain.models, 'Another'), hasattr(mmpretrain.models.utils, 'x'))\n"
    )
    assert printed(DEFERRED + program + USED) == ['False', 'False', 'False']


def test_two_calls_are_one(printed):
    program = f'{DEFERRED}count = len(sys.meta_path)\ndefer_part_of_mmdet()\n'
    assert printed(f'{program}print(len(sys.meta_path) - count)') == ['0']


def test_importing_mmmuse_changes_no_import_of_mmpretrain(printed):
    program = (
        'import sys, mmmuse\n'
        "print([f for f in sys.meta_path if getattr(f, '__module__', '').startswith('mmmuse.compat.deferred')])\n"
    )
    assert printed(program, {}) == ['[]']
