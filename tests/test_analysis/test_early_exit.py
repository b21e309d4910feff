import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmmuse.analysis.early_exit import (
    ExitRecord,
    evaluate_thresholds,
    gain_over_fixed_exits,
    taken_exits,
    thresholds_for_cost,
)
from mmmuse.analysis.early_exit_table import accuracy_label, early_exit_panels, read_early_exit
from mmmuse.errors import InputError

COSTS = np.array([10.0, 20.0, 30.0, 50.0])


def confidences(num_images: int = 4000) -> np.ndarray:
    return np.random.default_rng(0).uniform(0.2, 1, (num_images, 3))


@given(st.floats(10.5, 49.5))
def test_the_images_that_thresholds_are_chosen_on_cost_what_was_wanted(wanted):
    confidence = confidences()
    thresholds = thresholds_for_cost(confidence, COSTS, [True] * 3, wanted)
    cost = COSTS[taken_exits(confidence, thresholds)].mean()
    assert cost == pytest.approx(wanted, abs=0.05)


def test_a_disabled_exit_gets_no_threshold():
    confidence = confidences()
    thresholds = thresholds_for_cost(confidence, COSTS, [True, False, True], 30)
    assert thresholds[1] is None
    exits = taken_exits(confidence, thresholds)
    assert set(exits) == {0, 2, 3}
    assert COSTS[exits].mean() == pytest.approx(30, abs=0.05)


@pytest.mark.parametrize('wanted', [9, 51])
def test_a_cost_that_cannot_be_had_is_refused(wanted):
    with pytest.raises(InputError, match=f'an average cost of {wanted} is not possible'):
        thresholds_for_cost(confidences(), COSTS, [True] * 3, wanted)


def test_images_of_highest_confidence_take_an_exit():
    confidence = np.array([[0.9], [0.3], [0.8], [0.4]])
    (threshold,) = thresholds_for_cost(confidence, np.array([1.0, 3.0]), [True], 2.0)
    assert threshold == 0.8


def test_thresholds_are_evaluated_on_the_exit_that_each_image_takes():
    record = ExitRecord(
        confidence=np.array([[0.9, 0.1], [0.1, 0.9], [0.1, 0.1], [0.9, 0.9]]),
        correct=np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 1, 1]], dtype=bool),
    )
    point = evaluate_thresholds(record, np.array([1.0, 2.0, 6.0]), [0.5, 0.5])
    assert point.accuracy == 50  # Right, right, wrong, wrong.
    assert point.cost == (1 + 2 + 6 + 1) / 4
    assert point.shares == [0.5, 0.25, 0.25]
    assert record.take(slice(0, None, 2)).correct.tolist() == [[1, 0, 0], [1, 1, 0]]


def test_there_is_no_gain_to_speak_of_outside_the_fixed_exits():
    assert gain_over_fixed_exits(5, 60, [10, 20], [50, 60]) is None
    assert gain_over_fixed_exits(12.5, 60, [20, 10], [60, 50]) == pytest.approx(7.5)


def test_images_of_the_same_confidence_take_the_same_exit():
    confidence = np.ones((10, 1))
    thresholds = thresholds_for_cost(confidence, np.array([1.0, 3.0]), [True], 2.0)
    assert taken_exits(confidence, thresholds).tolist() == [0] * 10


def test_an_exit_that_no_image_is_to_take_is_disabled():
    thresholds = thresholds_for_cost(confidences(10), np.array([1.0, 2, 3, 9]), [True] * 3, 9.0)
    assert thresholds == [None, None, None]


@pytest.mark.parametrize(('key', 'label'), [('top1', 'top-1 accuracy (%)'), ('mIoU', 'mIoU (%)')])
def test_a_table_has_the_accuracy_of_a_classifier_or_of_a_segmenter(tmp_path, key, label):
    path = tmp_path / 'early_exit.csv'
    path.write_text(f'network,{key},macs,milliseconds\nexit 2,50.5,1e6,3\nearly exit,60,2e6,4\n')
    rows = read_early_exit(path)
    assert accuracy_label(rows) == label
    (fixed,), (early,) = early_exit_panels(rows)['average multiply-adds (M)'].values()
    assert (fixed.cost, fixed.accuracy, fixed.exit) == (1.0, 50.5, 2)
    assert (early.cost, early.accuracy) == (2.0, 60.0)
