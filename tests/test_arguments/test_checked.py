import inspect
import pickle
from collections.abc import Sequence
from typing import TypedDict

import pytest
from mmengine.registry import MODELS as MMENGINE_MODELS
from torch import nn
from typing_extensions import Unpack

from mmmuse.arguments import NonNegativeFloat, PositiveInt, check_keys, with_checked_arguments
from mmmuse.errors import ArgumentError, InputError
from mmmuse.registry import MODELS


class Options(TypedDict, total=False):
    width: PositiveInt


@with_checked_arguments
class Part(nn.Module):
    def __init__(
        self,
        weight: NonNegativeFloat,
        *args,
        sizes: Sequence[PositiveInt] = (),
        free=None,
        wrong_default: int = None,  # noqa: RUF013
        **options: Unpack[Options],
    ) -> None:
        super().__init__()
        self.given = (weight, args, sizes, free, wrong_default, options)


def test_arguments_reach_the_part_as_they_were_given():
    part = Part(1, 'a', sizes=[2], free='x', width=3)
    assert part.given == (1, ('a',), [2], 'x', None, dict(width=3))


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (dict(weight='0.03'), "weight is a number of at least 0, got '0.03' (str)"),
        (dict(weight=-1), 'weight is a number of at least 0, got -1'),
        (dict(weight=True), 'weight is a number of at least 0, got True'),
        (dict(weight=None), 'weight is a number of at least 0, got None'),
        (dict(weight=1, sizes=[1, 0]), 'sizes is a list of integers of at least 1, got [1, 0]'),
        (dict(weight=1, width=0), 'width is an integer of at least 1, got 0'),
    ],
)
def test_a_wrong_argument_is_named_in_one_line_before_the_part_is_built(options, said):
    with pytest.raises(InputError) as error:
        Part(**options)
    assert str(error.value) == f'Part: {said}'


def test_positional_arguments_are_checked_as_well():
    with pytest.raises(ArgumentError, match='weight'):
        Part('a')


def test_a_default_is_accepted_whatever_its_annotation_says():
    assert Part(1, wrong_default=None).given[4] is None
    with pytest.raises(ArgumentError):
        Part(1, wrong_default='a')


def test_an_unknown_or_missing_argument_is_the_calls_own_error():
    with pytest.raises(TypeError, match='missing 1 required positional argument'):
        Part()


def test_the_signature_stays_that_of_the_part():
    assert list(inspect.signature(Part).parameters)[:2] == ['weight', 'args']


def test_a_subclass_is_named_by_its_own_name():
    class Wider(Part):
        def __init__(self, weight: object = -1) -> None:
            super().__init__(weight)

    with pytest.raises(ArgumentError, match=r'^Wider: weight is'):
        Wider()


def test_an_init_of_another_package_is_not_checked():
    class Linear(nn.Linear):
        pass

    before = Linear.__init__
    assert with_checked_arguments(Linear).__init__ is before


def test_annotations_that_cannot_be_read_are_left_out():
    @with_checked_arguments
    class Unreadable:
        def __init__(self, a: 'NoSuchName', b: int = 1) -> None:  # noqa: F821
            pass

    Unreadable(a=object())
    with pytest.raises(ArgumentError, match='b is an integer'):
        Unreadable(a=object(), b='x')


def test_a_users_part_is_checked_by_being_registered_however_it_is_built():
    @MODELS.register_module(name='PartOfAUser')
    class Mine(nn.Module):
        def __init__(self, size: PositiveInt) -> None:
            super().__init__()

    try:
        for build in (
            lambda: MODELS.build(dict(type='mmmuse.PartOfAUser', size=0)),
            lambda: MMENGINE_MODELS.build(dict(type='mmmuse.PartOfAUser', size=0)),
            lambda: MMENGINE_MODELS.build(dict(type=Mine, size=0)),
            lambda: Mine(0),
        ):
            with pytest.raises(
                ArgumentError, match='Mine: size is an integer of at least 1, got 0'
            ):
                build()
    finally:
        del MODELS.module_dict['PartOfAUser']


def test_every_registered_class_of_ours_with_an_init_of_ours_checks_its_arguments():
    MODELS.import_from_location()
    for part in MODELS.module_dict.values():
        if isinstance(part, type) and inspect.unwrap(part.__init__).__module__.startswith(
            'mmmuse.'
        ):
            assert hasattr(part.__init__, 'checks_arguments'), part


@pytest.mark.parametrize('wrong', ['0.03', True, None, -0.1, float('nan'), float('inf'), [1], {}])
def test_every_loss_weight_of_ours_is_a_number_of_at_least_0(wrong):
    MODELS.import_from_location()
    with_weight = [
        part
        for part in MODELS.module_dict.values()
        if isinstance(part, type) and 'loss_weight' in inspect.signature(part).parameters
    ]
    assert len(with_weight) > 12
    for part in with_weight:
        parameters = inspect.signature(part).parameters.values()
        needed = {
            parameter.name: None
            for parameter in parameters
            if parameter.default is parameter.empty
            and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        }
        with pytest.raises(ArgumentError) as error:
            part(loss_weight=wrong, **{name: _of(part, name) for name in needed})
        assert 'loss_weight is a number of at least 0, got' in str(error.value)


def _of(part: type, name: str) -> object:
    from mmmuse.tapping.features import NetworkSpecs

    values = dict(
        learner=NetworkSpecs(),
        source=NetworkSpecs(),
        student={},
        neck=None,
        bbox_head={},
        decode_head={},
        channels=[1],
        strides=[1],
    )
    return values.get(name, 1)


def test_keys_of_a_dict_are_checked_and_unknown_ones_are_not():
    check_keys('taps', dict(a=1, b='x'), dict(a=int))
    with pytest.raises(ArgumentError, match=r"^taps: a is an integer, got 'x'"):
        check_keys('taps', dict(a='x'), dict(a=int))


def test_the_error_can_be_sent_from_a_worker():
    error = ArgumentError('Part', 'weight', '1', 'a number')
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.key, copy.value) == ('Part: weight is a number', 'weight', '1')
