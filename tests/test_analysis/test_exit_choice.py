import pytest

from mmmuse.analysis.exit_choice import choose_exit
from mmmuse.errors import InputError

ACCURACY = {1: 70.0, 2: 76.0, 3: 75.0}


def test_the_cheapest_of_those_that_reach_it_is_chosen():
    assert choose_exit(ACCURACY, 75.0, {1: 1, 2: 30, 3: 20}).number == 3
    assert choose_exit(ACCURACY, 75.0, {1: 1, 2: 20, 3: 30}).number == 2
    assert choose_exit(ACCURACY, 60.0, {1: 1, 2: 20, 3: 30}).number == 1


def test_without_all_costs_the_first_in_depth_is_chosen():
    assert choose_exit(ACCURACY, 75.0) == (75.0, 2, False, (2, 3))
    assert choose_exit(ACCURACY, 75.0, {2: 30, 3: 20}).number == 2


def test_rounding_does_not_exclude_an_exit():
    assert choose_exit({1: 74.99999, 2: 80.0}, 75.0).number == 1


def test_none_may_reach_it():
    assert choose_exit(ACCURACY, 77.0).number is None
    assert choose_exit({1: float('nan')}, 77.0).number is None
    with pytest.raises(InputError, match='no exits'):
        choose_exit({}, 1.0)
