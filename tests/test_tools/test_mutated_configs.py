"""What becomes of configs with one wrong value; ``MMMUSE_MUTATIONS`` is their number, 300 by default."""

import os
from collections import Counter
from numbers import Real
from pathlib import Path

import pytest

from tests.mutations import DELETE, Outcome, mutate

WEIGHTS = ('weight', 'lr', 'temperature')
COUNTS = (
    *('batch_size', 'max_epochs', 'val_interval', 'T_max', 'num_classes', 'num_views'),
    *('fixed_views', 'num_locations', 'num_negatives', 'reduction', 'strides', 'topk', 'end'),
    *('channels', 'num_modules', 'accumulative_counts', 'depth', 'input_size', 'input_shape'),
)


@pytest.fixture(scope='module')
def outcomes(tmp_path_factory) -> list[Outcome]:
    """What became of each mutated config."""
    count = int(os.environ.get('MMMUSE_MUTATIONS', 300))
    folder: Path = tmp_path_factory.mktemp('mutations')
    return list(mutate(count, seed=0, folder=folder))


def test_none_ends_in_a_traceback_and_none_hangs(outcomes):
    assert [str(outcome) for outcome in outcomes if outcome.kind in ('traceback', 'hangs')] == []


def test_a_refused_one_has_its_line(outcomes):
    refused = [outcome for outcome in outcomes if outcome.kind == 'refused']
    assert all(outcome.said.startswith('error: ') for outcome in refused)
    assert Counter(outcome.kind for outcome in outcomes)['refused'] > len(outcomes) / 2


def test_no_negative_weight_and_no_count_below_one_is_accepted(outcomes):
    accepted = [
        (key, outcome.value, str(outcome))
        for outcome in outcomes
        if outcome.kind == 'accepted' and outcome.value is not DELETE
        for key in (outcome.path[-1] if isinstance(outcome.path[-1], str) else outcome.path[-2],)
        if isinstance(outcome.value, Real)
    ]
    for key, value, said in accepted:
        if str(key).endswith(WEIGHTS):
            assert value >= 0, said
        if str(key).endswith(COUNTS):
            assert value >= 1, said
        assert not isinstance(value, bool) or not str(key).endswith((*WEIGHTS, *COUNTS)), said
