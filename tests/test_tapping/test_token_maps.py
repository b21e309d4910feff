"""Tokens become the map that they were before they were flattened."""

import pytest
import torch
import torch.nn.functional as F

from mmmuse.errors import InputError
from mmmuse.tapping.token_maps import as_map

SIDES = (*range(96, 140, 3), 256, 263, 508, 512, 1000)


def grid(size: tuple[int, int], stride: int, up: bool) -> tuple[int, int]:
    return tuple(F.avg_pool1d(torch.zeros(1, side), stride, ceil_mode=up).shape[1] for side in size)


@pytest.mark.parametrize('stride', [4, 8, 16, 32])
@pytest.mark.parametrize('up', [True, False])
def test_tokens_of_images_of_any_size_get_their_grid_back(stride, up):
    for height in SIDES:
        for width in SIDES:
            rows, columns = grid((height, width), stride, up)
            tokens = torch.arange(rows * columns).reshape(1, -1, 1)
            found = as_map(tokens, (height, width))
            assert found.shape == (1, 1, rows, columns), (height, width)
            assert found.flatten().tolist() == tokens.flatten().tolist()


@pytest.mark.parametrize(
    ('size', 'stride', 'expected'),
    [((129, 128), 32, (5, 4)), ((508, 263), 30, (17, 9)), ((508, 263), 32, (16, 9))],
)
def test_sides_that_the_stride_does_not_divide_are_rounded_up(size, stride, expected):
    assert grid(size, stride, up=True) == expected
    tokens = torch.zeros(1, expected[0] * expected[1], 2)
    assert as_map(tokens, size).shape == (1, 2, *expected)


def test_patches_of_14_pixels_without_padding_get_their_grid_back():
    assert as_map(torch.zeros(1, 16 * 27, 2), (224, 378)).shape == (1, 2, 16, 27)
    assert as_map(torch.zeros(1, 7 * 4, 2), (100, 60)).shape == (1, 2, 7, 4)


def test_tokens_of_no_stride_are_refused():
    with pytest.raises(InputError, match='17 tokens are not a grid of an image of 64x64 pixels'):
        as_map(torch.zeros(1, 17, 2), (64, 64))
