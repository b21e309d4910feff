"""Windows are put together as OpenMMLab does it, for batches of any size of a program."""

import pytest
import torch
from torch import nn

from mmmuse.export.onnx_modules import Logits
from mmmuse.export.program import Program
from mmmuse.export.shifted_windows import with_whole_numbers
from mmmuse.registry import MODELS

SWIN = dict(
    type='mmpretrain.ImageClassifier',
    _scope_='mmpretrain',
    backbone=dict(
        type='SwinTransformer',
        arch=dict(embed_dims=4, depths=[2], num_heads=[1]),  # The second block shifts its windows.
        img_size=32,
        window_size=4,
        out_indices=(0,),
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=5, in_channels=4),
)


@pytest.mark.parametrize('library', ['mmdet', 'mmseg', 'mmpretrain'])
def test_windows_are_put_together_as_by_the_library(library):
    if library == 'mmpretrain':
        from mmpretrain.models.utils.attention import ShiftWindowMSA

        module, options = ShiftWindowMSA(4, 1, 2), (2,)
    else:
        swin = pytest.importorskip(f'{library}.models.backbones.swin')
        module, options = swin.ShiftWindowMSA(4, 1, 2), ()
    windows = torch.randn(3 * 6, 2, 2, 4)  # Of three images of 4x6 locations.
    expected = module.window_reverse(windows, 4, 6, *options)
    assert expected.shape == (3, 4, 6, 4)
    with with_whole_numbers(nn.Sequential(module)):
        found = module.window_reverse(windows, 4, 6, *options)
    assert torch.equal(found, expected)
    assert 'window_reverse' not in vars(module)


def test_a_program_of_a_swin_takes_batches_of_any_size():
    network = MODELS.build(SWIN).eval()
    program = Program(Logits(network), torch.randn(1, 3, 32, 32)).exported.module()
    images = torch.randn(5, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(program(images), network(images))
