import ast
import re
import sys
from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec
from pathlib import Path

import mmcv.ops
import pytest
import torch

from mmmuse.compat import missing_ops, stand_in_for_mmcv_ops
from mmmuse.compat.finder import FallbackOpsFinder
from mmmuse.errors import InputError

# Who is found


def test_real_ops_win(stand_in, monkeypatch, tmp_path):
    real = tmp_path / '_ext.py'
    real.write_text('')
    monkeypatch.delitem(sys.modules, 'mmcv._ext')
    assert find_spec('mmcv._ext').origin == stand_in.__spec__.origin
    monkeypatch.setattr(mmcv, '__path__', [*mmcv.__path__, str(tmp_path)])
    assert find_spec('mmcv._ext').origin == str(real)


def test_nothing_is_found_for_an_mmcv_without_ops(tmp_path):
    assert FallbackOpsFinder.find_spec('mmcv._ext', [str(tmp_path)]) is None
    assert FallbackOpsFinder.find_spec('mmcv._another', mmcv.__path__) is None


def test_standing_in_twice_adds_one_finder_at_the_end():
    before = list(sys.meta_path)
    stand_in_for_mmcv_ops()
    assert sys.meta_path == before
    assert before.count(FallbackOpsFinder) == 1


# What is missing


def ops_that_mmcv_asks_for() -> set[str]:
    """The names in every ``load_ext('_ext', [...])`` of mmcv."""
    names = set()
    for file in Path(mmcv.ops.__file__).parent.glob('*.py'):
        for found in re.findall(r"load_ext\(\s*'_ext',\s*(\[.*?\])", file.read_text(), re.DOTALL):
            names.update(ast.literal_eval(found))
    return names


STOOD_IN = {
    *('nms', 'softnms', 'nms_match'),
    *('roi_align_forward', 'roi_align_backward', 'roi_pool_forward', 'roi_pool_backward'),
    *('deform_conv_forward', 'deform_conv_backward_input', 'deform_conv_backward_parameters'),
    *('modulated_deform_conv_forward', 'modulated_deform_conv_backward'),
    *('sigmoid_focal_loss_forward', 'sigmoid_focal_loss_backward'),
    *('softmax_focal_loss_forward', 'softmax_focal_loss_backward'),
}
VERSIONS = {'get_compiler_version', 'get_compiling_cuda_version'}


def test_each_stand_in_is_an_op_that_mmcv_asks_for(stand_in):
    assert ops_that_mmcv_asks_for() & set(vars(stand_in)) == STOOD_IN | VERSIONS


@pytest.mark.parametrize('name', sorted(ops_that_mmcv_asks_for() - STOOD_IN - VERSIONS))
def test_another_op_is_there_and_raises_one_line_when_called(stand_in, name):
    op = getattr(stand_in, name)
    with pytest.raises(InputError, match=rf'^{name} needs .*pip install') as error:
        op(1, groups=2)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ('installed', 'hint'),
    [
        ('onedl-mmcv', 'pip install --no-build-isolation .* onedl-mmcv'),
        ('mmcv-lite', r'pip uninstall mmcv-lite; pip install openmim; mim install mmcv==2\.1\.0'),
        ('mmcv', r'mim install mmcv==2\.1\.0'),
    ],
)
def test_the_hint_is_for_the_mmcv_that_is_installed(monkeypatch, installed, hint):
    def version(name: str) -> str:
        if name != installed:
            raise PackageNotFoundError(name)
        return '2.1.0'

    monkeypatch.setattr(missing_ops, 'version', version)
    with pytest.raises(InputError, match=rf"^A needs mmcv's compiled ops, .*: .*{hint}"):
        missing_ops.refuse('A')


def test_a_function_of_mmcv_without_its_op_raises_its_name(stand_in, monkeypatch):
    monkeypatch.setattr(sys.modules['mmcv.ops.box_iou_rotated'], 'ext_module', stand_in)
    with pytest.raises(InputError, match=r'^box_iou_rotated needs'):
        mmcv.ops.box_iou_rotated(torch.rand(2, 5), torch.rand(2, 5))


def test_a_special_name_is_no_op(stand_in):
    assert not hasattr(stand_in, '__path__')


def test_the_environment_can_be_collected(stand_in):
    assert stand_in.get_compiler_version() == stand_in.get_compiling_cuda_version() == 'n/a'


def test_it_says_once_that_it_stands_in(monkeypatch):
    said = []
    monkeypatch.setattr(missing_ops, 'print_log', lambda message, **_: said.append(message))
    missing_ops._warn_once.cache_clear()
    for _ in range(2):
        mmcv.ops.nms(torch.rand(3, 4), torch.rand(3), 0.5)
        mmcv.ops.roi_pool(torch.rand(1, 1, 4, 4), torch.zeros(1, 5), 2)
    assert len(said) == 1
    assert "mmcv's compiled ops are not installed" in said[0]
