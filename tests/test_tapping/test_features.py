import pytest
import torch

from mmmuse.errors import InputError
from mmmuse.tapping.features import DistillFeatures, FeatureSpec


@pytest.mark.parametrize(
    ('shape', 'expected'),
    [
        ((2, 8, 4, 6), FeatureSpec(8, (4, 6))),
        ((2, 16, 8), FeatureSpec(8, (4, 4))),
        ((2, 17, 8), FeatureSpec(8, (4, 4), num_prefix_tokens=1)),
        ((2, 198, 8), FeatureSpec(8, (14, 14), num_prefix_tokens=2)),
        ((2, 8), FeatureSpec(8)),
    ],
)
def test_a_shape_is_read_as_channels_grid_and_prefix_tokens(shape, expected):
    assert FeatureSpec.of(torch.Size(shape)) == expected


def test_other_shapes_are_refused():
    with pytest.raises(InputError, match=r'\(2, 3, 4, 5, 6\)'):
        FeatureSpec.of(torch.Size((2, 3, 4, 5, 6)))


def test_the_last_vector_is_the_last_feature_averaged_over_its_locations():
    last = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])
    assert torch.equal(DistillFeatures((), last).last_vector, torch.tensor([[3.0]]))
