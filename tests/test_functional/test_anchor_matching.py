import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmmuse.errors import InputError
from mmmuse.functional import match_anchors

EIGHT = torch.tensor([[8.0, 8.0]])


def slow_matches(centres, sizes, anchors, grid, ratio=4.0) -> set[tuple[int, int, int, int]]:
    """Ask of every cell whether it is the centre's own, or beside it with a middle that is near."""
    found = set()
    for box, ((x, y), (w, h)) in enumerate(zip(centres.tolist(), sizes.tolist())):
        if not (0 <= x < grid[1] and 0 <= y < grid[0] and w > 0 and h > 0):
            continue
        for number, (anchor_w, anchor_h) in enumerate(anchors.tolist()):
            if not max(w / anchor_w, anchor_w / w, h / anchor_h, anchor_h / h) < ratio:
                continue
            for row in range(grid[0]):
                for column in range(grid[1]):
                    in_row, in_column = row <= y < row + 1, column <= x < column + 1
                    near_in_row = in_row and abs(x - (column + 0.5)) < 1
                    near_in_column = in_column and abs(y - (row + 0.5)) < 1
                    if near_in_row or near_in_column:
                        found.add((box, number, row, column))
    return found


def matches(centres, sizes, anchors, grid, **options) -> set[tuple[int, int, int, int]]:
    listed = list(
        zip(
            *(
                part.tolist()
                for part in match_anchors(*as_given(centres, sizes), anchors, grid, **options)
            )
        )
    )
    assert len(listed) == len(set(listed))
    return set(listed)


def as_given(centres, sizes):
    return torch.as_tensor(centres).float().reshape(-1, 2), torch.as_tensor(sizes).float().reshape(
        -1, 2
    )


def cells(x: float, y: float, grid=(5, 5), size=(8.0, 8.0)) -> set[tuple[int, int]]:
    """``(row, column)`` that a box of 8x8 pixels is assigned to at a centre."""
    return {place[2:] for place in matches([[x, y]], [size], EIGHT, grid)}


# Quarters of a cell reach the borders and the middles, other numbers all the rest.
PLACE = st.one_of(
    st.integers(-4, 28).map(lambda quarters: quarters / 4),
    st.floats(-2, 8, width=32),
    st.just(math.nan),
)
SIDE = st.one_of(
    st.floats(-2, 300, width=32), st.sampled_from([0.0, 2.0, 8.0, 32.0, math.nan, math.inf])
)


@given(
    boxes=st.lists(st.tuples(PLACE, PLACE, SIDE, SIDE), max_size=6),
    anchors=st.lists(
        st.tuples(st.floats(1, 64, width=32), st.floats(1, 64, width=32)), min_size=1, max_size=3
    ),
    grid=st.tuples(st.integers(1, 6), st.integers(1, 6)),
)
def test_equals_a_loop_over_boxes_anchors_and_cells(boxes, anchors, grid):
    values = torch.tensor(boxes).reshape(-1, 4)
    centres, sizes, anchors = values[:, :2], values[:, 2:], torch.tensor(anchors)
    # A quotient that float32 cannot tell from the ratio is on neither side of it.
    quotients = sizes.double()[:, None] / anchors.double()
    near = ((quotients / 4.0).log().abs() < 1e-5) | ((quotients * 4.0).log().abs() < 1e-5)
    clear = ~near.any(-1).any(-1)
    centres, sizes = centres[clear], sizes[clear]
    assert matches(centres, sizes, anchors, grid) == slow_matches(centres, sizes, anchors, grid)


@pytest.mark.parametrize('seed', range(5))
def test_equals_the_loop_for_many_boxes_of_plausible_sizes(seed):
    torch.manual_seed(seed)
    centres, sizes = torch.rand(40, 2) * torch.tensor([7.0, 5.0]), (torch.randn(40, 2) + 3).exp()
    anchors = torch.tensor([[10.0, 13.0], [16.0, 30.0], [33.0, 23.0]])
    found = matches(centres, sizes, anchors, (5, 7))
    assert found == slow_matches(centres, sizes, anchors, (5, 7))
    assert {place[1] for place in found} == {0, 1, 2}


def test_the_nearer_neighbours_of_each_quarter_of_a_cell_are_taken():
    assert cells(2.25, 2.25) == {(2, 2), (2, 1), (1, 2)}
    assert cells(2.75, 2.25) == {(2, 2), (2, 3), (1, 2)}
    assert cells(2.25, 2.75) == {(2, 2), (2, 1), (3, 2)}
    assert cells(2.75, 2.75) == {(2, 2), (2, 3), (3, 2)}


def test_a_centre_on_a_border_is_in_the_cell_behind_it_and_near_the_one_before():
    assert cells(2.0, 2.25) == {(2, 2), (2, 1), (1, 2)}
    assert cells(2.25, 2.0) == {(2, 2), (2, 1), (1, 2)}
    assert cells(2.0, 2.0) == {(2, 2), (2, 1), (1, 2)}


def test_the_very_middle_of_a_cell_has_no_nearer_neighbour():
    assert cells(2.5, 2.5) == {(2, 2)}
    assert cells(2.5, 2.25) == {(2, 2), (1, 2)}
    assert cells(2.25, 2.5) == {(2, 2), (2, 1)}
    beside = torch.nextafter(torch.tensor(2.5), torch.tensor(3.0)).item()
    assert cells(beside, 2.5) == {(2, 2), (2, 3)}


def test_the_outermost_half_cell_has_no_neighbour_beyond_the_grid():
    assert cells(0.25, 0.25) == {(0, 0)}
    assert cells(0.0, 0.0) == {(0, 0)}
    assert cells(4.75, 4.75) == {(4, 4)}
    assert cells(4.75, 0.75) == {(0, 4), (1, 4)}
    assert cells(0.75, 0.75, grid=(1, 1)) == {(0, 0)}


def test_rows_are_of_the_height_and_columns_of_the_width():
    assert cells(6.75, 1.75, grid=(3, 8)) == {(1, 6), (1, 7), (2, 6)}
    assert cells(1.75, 6.75, grid=(3, 8)) == set()


@pytest.mark.parametrize(
    'centre',
    [
        (5.0, 2.0),
        (2.0, 5.0),
        (-0.25, 2.0),
        (2.0, -1e-6),
        (9.0, 9.0),
        (math.nan, 2.0),
        (2.0, math.inf),
    ],
)
def test_a_centre_beyond_the_grid_matches_nothing(centre):
    assert cells(*centre) == set()


@pytest.mark.parametrize(
    'size',
    [
        (0.0, 8.0),
        (8.0, 0.0),
        (-8.0, 8.0),
        (-8.0, -8.0),
        (math.nan, 8.0),
        (8.0, math.nan),
        (math.inf, 8.0),
    ],
)
def test_a_box_without_an_area_matches_nothing(size):
    assert cells(2.25, 2.25, size=size) == set()


@pytest.mark.parametrize(
    ('size', 'alike'),
    [
        ((31.5, 8.0), True),
        ((32.0, 8.0), False),
        ((8.0, 2.0), False),
        ((8.0, 2.25), True),
        ((2.25, 31.5), True),
    ],
)
def test_each_side_is_less_than_four_times_longer_or_shorter_than_the_anchors(size, alike):
    assert bool(cells(2.5, 2.5, size=size)) is alike


def test_the_ratio_is_chosen():
    assert matches([[2.5, 2.5]], [[15.0, 8.0]], EIGHT, (5, 5), ratio=2.0)
    assert not matches([[2.5, 2.5]], [[17.0, 8.0]], EIGHT, (5, 5), ratio=2.0)
    assert matches([[2.5, 2.5]], [[17.0, 8.0]], EIGHT, (5, 5), ratio=2.5)


def test_without_a_box_the_four_lists_are_empty_indices():
    for part in match_anchors(torch.zeros(0, 2), torch.zeros(0, 2), EIGHT, (5, 5)):
        assert part.shape == (0,)
        assert part.dtype == torch.long


@pytest.mark.parametrize(
    ('centres', 'sizes', 'anchors', 'said'),
    [
        ((3, 4), (3, 2), (1, 2), r'centres \(M, 2\), got \(3, 4\)'),
        ((3, 2), (2,), (1, 2), r'sizes \(M, 2\), got \(2,\)'),
        ((3, 2), (3, 2), (3, 1, 2), r'anchors \(M, 2\), got \(3, 1, 2\)'),
        ((3, 2), (4, 2), (1, 2), '3 centres and 4 sizes'),
    ],
)
def test_shapes_that_do_not_fit_are_refused(centres, sizes, anchors, said):
    with pytest.raises(InputError, match=said):
        match_anchors(torch.ones(centres), torch.ones(sizes), torch.ones(anchors), (5, 5))


@pytest.mark.parametrize('ratio', [1.0, 0.25, -4.0, math.nan])
def test_a_ratio_that_no_box_could_meet_is_refused(ratio):
    with pytest.raises(InputError, match='ratio above 1, got'):
        match_anchors(torch.ones(1, 2), torch.ones(1, 2), EIGHT, (5, 5), ratio)
