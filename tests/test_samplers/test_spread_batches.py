from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from mmmuse.samplers.spread_batches import SpreadBatches, spread


def has_equal_neighbours(indices: list[int]) -> bool:
    return any(index == indices[i - 1] for i, index in enumerate(indices))


@given(st.lists(st.integers(0, 4), min_size=2, max_size=12))
def test_equal_indices_are_apart_where_that_is_possible(indices):
    found = spread(indices)
    assert Counter(found) == Counter(indices)
    possible = max(Counter(indices).values()) <= len(indices) / 2
    assert has_equal_neighbours(found) != possible


@given(st.lists(st.integers(0, 99), unique=True))
def test_indices_without_repetition_keep_their_order(indices):
    assert spread(indices) == indices


def test_indices_without_a_hash_keep_their_order():
    indices = [dict(source=0), dict(source=0)]
    assert spread(indices) is indices


@pytest.mark.parametrize('workers', [0, pytest.param(1, marks=pytest.mark.slow)])
def test_the_batches_of_a_loader_are_spread(workers):
    loader = DataLoader(
        range(4),
        batch_size=6,
        sampler=[0, 0, 0, 1, 1, 1, 3, 2, 2],
        num_workers=workers,
        multiprocessing_context='spawn' if workers else None,
    )
    inner = loader.batch_sampler
    batches = SpreadBatches(loader)
    assert [batch.tolist() for batch in loader] == [[0, 1, 0, 1, 0, 1], [2, 3, 2]]
    assert (len(loader), batches.inner, batches.batch_size) == (2, inner, 6)
