import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from mmengine.config import ConfigDict
from torch import nn

from mmmuse.arguments import (
    Fraction,
    ImageShape,
    Length,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    PositiveInts,
    Range,
    accepts,
    described,
    shown,
)


@pytest.mark.parametrize(
    ('annotation', 'values'),
    [
        (int, [3, -1, np.int64(2), 10**30]),
        (float, [0.5, 3, -1, np.float32(2.5), np.int64(2)]),
        (bool, [True, False, np.bool_(True)]),
        (str, ['', 'a']),
        (None, [None]),
        (dict, [{}, ConfigDict(a=1)]),
        (int | None, [3, None]),
        (Sequence[int], [[], (1, 2), np.array([1, 2]), range(3)]),
        (tuple[int, ...], [(1,), [1, 2]]),
        (Sequence[Sequence[int]], [[], [[1], (2, 3)]]),
        (Mapping[str, dict], [{}, {'a': {}}, ConfigDict(a=dict(b=1))]),
        (dict | nn.Module, [{}, nn.Identity()]),
        (Literal['a', 'b'], ['a', 'b']),
        (PositiveInt, [1, 7]),
        (PositiveFloat, [1e-9, 7]),
        (NonNegativeFloat, [0, 0.0, 7]),
        (Fraction, [0, 0.5, 1]),
        (Annotated[float, Range(above=0, most=1)], [0.1, 1]),
        (ImageShape, [(3, 32, 32), [1, 8, 8]]),
        (Any, [None, 'a', object()]),
    ],
)
def test_a_value_of_its_type_and_range_is_accepted(annotation, values):
    assert all(accepts(annotation, value) for value in values)


@pytest.mark.parametrize(
    ('annotation', 'values'),
    [
        (int, [True, 1.0, '1', None, np.bool_(True), [1]]),
        (
            float,
            [True, '0.03', None, math.nan, math.inf, -math.inf, 10**400, 1j, np.float64('nan')],
        ),
        (bool, [0, 1, 'no', None]),
        (str, [b'a', 1, None]),
        (dict, [[], None, 'a']),
        (Sequence[int], ['12', 3, [1, 'a'], [True], {1: 2}, np.ones((1, 1), int), None]),
        (tuple[int, ...], [3, ['a']]),
        (Mapping[str, dict], [{'a': 1}, []]),
        (Literal['a', 'b'], ['c', None, 1]),
        (Literal[1, 2], [True, 1.0]),
        (PositiveInt, [0, -1, 1.5]),
        (PositiveFloat, [0, -1e-9]),
        (NonNegativeFloat, [-1e-9]),
        (Fraction, [-0.1, 1.1]),
        (ImageShape, [(3, 32), (3, 0, 32), 'abc']),
        (PositiveInts, [[]]),
    ],
)
def test_a_value_of_another_type_or_range_is_not_accepted(annotation, values):
    assert not any(accepts(annotation, value) for value in values)


@pytest.mark.parametrize(
    ('annotation', 'words'),
    [
        (PositiveInt | None, 'None or an integer of at least 1'),
        (Fraction, 'a number from 0 to 1'),
        (Annotated[float, Range(above=0, most=1)], 'a number above 0 and at most 1'),
        (Sequence[PositiveInt], 'a list of integers of at least 1'),
        (Annotated[Sequence[dict], Length(1)], 'a list of dicts with at least 1 item'),
        (ImageShape, 'a list of integers of at least 1 with 3 items'),
        (dict | nn.Module, 'a dict or a built Module'),
        (dict | str | None, 'None, a dict or a string'),
        (Literal['a', 'b'], "'a' or 'b'"),
        (Literal['a', 'b', 'c'], 'one of a, b, c'),
        (Mapping[str, dict], 'a dict of dicts'),
    ],
)
def test_an_annotation_is_described_in_words(annotation, words):
    assert described(annotation) == words


def test_a_value_in_a_message_is_short_and_a_string_is_named_as_one():
    assert shown('0.03') == "'0.03' (str)"
    assert shown(True) == 'True'
    assert shown(nn.Linear(2, 2)) == 'a Linear'
    assert len(shown(list(range(1000)))) < 100
