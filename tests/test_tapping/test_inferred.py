"""What a config gives of inferred arguments has to agree with the tapped features."""

import pytest

from mmmuse.distillers import FRSKDDistiller
from mmmuse.errors import InputError
from mmmuse.tapping.inferred import without_inferred

from ..conftest import TAPS, small_classifier_config, small_distiller
from ..test_distillers import transfer


def test_what_agrees_or_is_left_out_is_inferred():
    config = dict(type='X', channels=(4, 8), width=3, classes=None)
    rest = without_inferred(config, 'part', channels=[4, 8], classes=5, grid=None)
    assert rest == dict(type='X', width=3)


def test_what_cannot_be_inferred_is_kept():
    assert without_inferred(dict(classes=7), 'part', classes=None) == dict(classes=7)


@pytest.mark.parametrize('given', [[4], [4, 8, 8], [8, 4], 4])
def test_another_count_or_value_is_refused_with_both(given):
    with pytest.raises(InputError, match='leave it out to have it inferred') as error:
        without_inferred(dict(channels=given), 'part', channels=[4, 8])
    assert f'part.channels is {given} in the config and [4, 8]' in str(error.value)


@pytest.mark.parametrize('name', ['local_channels', 'global_channels'])
def test_a_critic_for_other_channels_is_refused_at_the_build(name):
    critic = dict(type='mmmuse.GlobalLocalCritic', **{name: 5})
    muse = dict(type='mmmuse.MUSELoss', critic=critic)
    with pytest.raises(InputError, match=rf'discrepancy.critic.{name} is 5'):
        small_distiller(head=dict(type='mmmuse.MUSEHead', discrepancy=muse))
    with pytest.raises(InputError, match=rf'discrepancy.critic.{name} is 5'):
        transfer.offline(muse)


@pytest.mark.parametrize('name', ['num_classes', 'in_channels'])
def test_an_exit_for_other_classes_or_channels_is_refused_at_the_build(name):
    head = dict(type='mmmuse.MUSEHead', exit={name: 3})
    with pytest.raises(InputError, match=rf'head.exit.{name} is 3'):
        small_distiller(head=head)


def test_a_pyramid_for_fewer_maps_is_refused_at_the_build():
    with pytest.raises(InputError, match=r'pyramid.in_channels is \[8, 16\]'):
        FRSKDDistiller(small_classifier_config(), TAPS, pyramid=dict(in_channels=[8, 16]))
