"""Tokens become the map that they were before they were flattened."""

import pytest
import torch
import torch.nn.functional as F

from mmmuse.errors import InputError
from mmmuse.tapping.token_maps import as_map, grid_of_tokens, with_grids

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


def test_a_prefix_is_dropped():
    tokens = torch.arange(33.0).reshape(1, 33, 1)
    assert as_map(tokens, (64, 128), 1).flatten().tolist() == list(range(1, 33))
    with pytest.raises(InputError, match='16 tokens after 1 prefix tokens are not a grid'):
        as_map(torch.zeros(1, 17, 2), (64, 128), 1)


@pytest.mark.parametrize('prefix', [0, 1, 2, 5])
@pytest.mark.parametrize(('size', 'grid'), [((384, 640), (24, 40)), ((480, 640), (30, 40))])
def test_the_prefix_of_a_wide_image_is_what_its_grid_leaves(prefix, size, grid):
    assert grid_of_tokens(grid[0] * grid[1] + prefix, size) == (grid, prefix)


def test_as_many_tokens_as_a_square_has_are_not_a_square_of_a_wide_image():
    assert grid_of_tokens(64, (32, 128)) == ((4, 16), 0)
    assert grid_of_tokens(64, (128, 128)) == ((8, 8), 0)


def test_only_tokens_of_wide_images_become_maps():
    features = dict(
        tokens=torch.zeros(2, 9, 3), map=torch.zeros(2, 3, 2, 4), odd=torch.zeros(2, 11, 3)
    )
    prefix = dict(tokens=1, map=0, odd=0)
    square = with_grids(features, prefix, (64, 64))
    assert all(square[name] is value for name, value in features.items())
    wide = with_grids(features, prefix, (64, 128))
    assert wide['tokens'].shape == (2, 3, 2, 4)
    assert wide['map'] is features['map']
    assert wide['odd'] is features['odd']
