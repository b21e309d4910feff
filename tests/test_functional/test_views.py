import pytest
import torch

from mmmuse.errors import InputError
from mmmuse.functional import global_view, local_view, map_view, same_grid


def test_the_local_view_of_a_map_lists_its_locations_row_by_row():
    feature = torch.randn(2, 3, 4, 5)
    tokens = local_view(feature)
    assert tokens.shape == (2, 20, 3)
    for row in range(4):
        for column in range(5):
            assert torch.equal(tokens[:, row * 5 + column], feature[:, :, row, column])


def test_the_local_view_copies_nothing():
    feature = torch.randn(2, 3, 4, 5)
    assert local_view(feature).data_ptr() == feature.data_ptr()


def test_tokens_are_their_own_local_view():
    tokens = torch.randn(2, 7, 3)
    assert torch.equal(local_view(tokens), tokens)


def test_a_vector_is_one_location():
    vector = torch.randn(2, 3)
    assert torch.equal(local_view(vector), vector[:, None])
    assert torch.equal(global_view(vector), vector)


def test_the_global_view_is_the_mean_over_locations():
    feature = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    mean = torch.zeros(2, 3, dtype=torch.float64)
    for row in range(4):
        for column in range(5):
            mean += feature[:, :, row, column] / 20
    torch.testing.assert_close(global_view(feature), mean)
    torch.testing.assert_close(global_view(local_view(feature)), mean)


@pytest.mark.parametrize('view', [local_view, global_view])
@pytest.mark.parametrize('shape', [(3,), (1, 2, 3, 4, 5)])
def test_other_shapes_are_refused_with_the_shape(view, shape):
    with pytest.raises(InputError, match=str(shape[-1])):
        view(torch.zeros(shape))


def test_tokens_become_a_square_map_without_their_class_token():
    tokens = torch.arange(2 * 5 * 3.0).reshape(2, 5, 3)
    map_ = map_view(tokens)
    assert map_.shape == (2, 3, 2, 2)
    assert torch.equal(map_[1, :, 0, 1], tokens[1, 2])
    assert torch.equal(map_[0, :, 1, 0], tokens[0, 3])


@pytest.mark.parametrize('prefix', [0, 1, 2, 5])
def test_class_distillation_and_register_tokens_are_dropped(prefix):
    grid = torch.arange(196.0).expand(2, 3, 196)
    tokens = torch.cat([torch.full((2, 3, prefix), -1.0), grid], 2).transpose(1, 2)
    assert torch.equal(map_view(tokens), grid.unflatten(2, (14, 14)))


@pytest.mark.parametrize('grid', [(32, 64), (8, 16), (7, 9)])
def test_tokens_of_images_that_are_not_square_are_refused(grid):
    length = grid[0] * grid[1]
    with pytest.raises(
        InputError, match=f'^{length} tokens are not a square grid .* square images'
    ):
        map_view(torch.zeros(1, length, 3))


def test_the_smaller_side_of_each_direction_is_the_common_grid():
    wide, high = torch.ones(1, 2, 4, 8), torch.ones(1, 3, 8, 2)
    first, second = same_grid(wide, high)
    assert first.shape == (1, 2, 4, 2)
    assert second.shape == (1, 3, 4, 2)
    same = torch.ones(1, 2, 4, 4)
    assert same_grid(same, same)[0] is same


def test_a_vector_has_no_locations():
    with pytest.raises(InputError, match=r'got shape \(2, 3\)'):
        map_view(torch.zeros(2, 3))
