import pytest

from mmmuse.tapping.feature_grid import map_grid, possible_grids, token_grid


@pytest.mark.parametrize(
    ('shape', 'image', 'grid'),
    [
        ((64, 56, 56), (224, 224), (56, 56)),
        ((64, 1, 1), (224, 224), (1, 1)),
        ((14, 14, 768), (224, 224), None),  # Channels last.
        ((64, 64, 768), (1024, 1024), None),
        ((256, 200, 336), (800, 1344), (200, 336)),
        ((2048, 25, 42), (800, 1344), (25, 42)),
        ((2048, 25, 42), (799, 1333), (25, 42)),  # Rounded up.
        ((200, 336, 256), (800, 1344), None),
    ],
)
def test_a_map_has_the_aspect_ratio_of_the_image(shape, image, grid):
    assert map_grid(shape, image) == grid


@pytest.mark.parametrize(
    ('shape', 'known', 'grid'),
    [
        ((196, 768), [(224, 224)], (14, 14)),
        ((197, 768), [(224, 224)], (14, 14)),
        ((198, 192), [(224, 224)], (14, 14)),
        ((261, 384), [(224, 224), (16, 16)], (16, 16)),  # Patches of 14, and 5 more tokens.
        ((448, 49), [(224, 224)], None),  # EfficientFormer: channels first.
        ((768, 196), [(224, 224)], None),  # The token mixer of an MLP-Mixer.
        ((384, 196), [(224, 224)], None),  # The unfolded pixels of a TNT.
        ((1024, 1), [(224, 224)], None),
        ((1050, 96), [(800, 1344)], (25, 42)),
    ],
)
def test_tokens_are_a_grid_that_the_network_can_have(shape, known, grid):
    assert token_grid(shape, possible_grids(known)) == grid


def test_a_grid_is_halved_as_often_as_possible_and_rounded_both_ways():
    assert possible_grids([(14, 14)]) == {(n, n) for n in (14, 7, 4, 3, 2, 1)}
    assert possible_grids([(6, 10)]) == {(6, 10), (3, 5), (2, 3), (1, 2), (1, 1)}
