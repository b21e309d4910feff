import pytest
import torch

from mmmuse.errors import InputError
from mmmuse.necks import ExitNeck


def test_a_neck_of_an_exit_says_how_many_maps_it_reads():
    neck = ExitNeck(local_channels=4, channels=[8], strides=[2], num_reached=2)
    maps = [torch.randn(1, 4, 8, 8)] * 3
    assert [tuple(level.shape) for level in neck(maps)] == [
        (1, 4, 8, 8),
        (1, 4, 8, 8),
        (1, 8, 4, 4),
    ]
    with pytest.raises(InputError, match='needs 2 maps and the feature of the exit, got 2'):
        neck(maps[:2])
    with pytest.raises(InputError, match='got 1 channels and 2 strides'):
        ExitNeck(local_channels=4, channels=[8], strides=[2, 4], num_reached=2)


def test_a_map_that_is_not_read_is_not_replaced():
    neck = ExitNeck(4, channels=[8, 16], strides=[2, 4], num_reached=1, unread=[0])
    reached, unread, replaced = neck([torch.randn(1, 3, 8, 8), torch.randn(1, 4, 8, 8)])
    assert unread is None
    assert (reached.shape, replaced.shape) == ((1, 3, 8, 8), (1, 16, 2, 2))
    assert {name.split('.')[1] for name, _ in neck.named_parameters()} == {'1'}
