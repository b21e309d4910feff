import pytest

from mmmuse.checkpoints.state_dicts import check_same
from mmmuse.critics import GlobalLocalCritic
from mmmuse.errors import InputError


def weights(architecture: str, width: int) -> dict:
    critic = GlobalLocalCritic(2, 3, architecture, hidden_channels=width)
    return critic.state_dict(prefix='muse.discrepancies.0.mi_critics.0.')


@pytest.mark.parametrize('architecture', ['concat', 'dot'])
def test_critics_of_another_width_are_refused_with_the_option_of_their_width(architecture):
    with pytest.raises(InputError) as error:
        check_same('neck or head', weights(architecture, 8), weights(architecture, 32))
    assert str(error.value).endswith(
        '; the critics of the file are 32 wide: set critic.hidden_channels=32'
    )


def test_critics_of_other_channels_are_refused_without_naming_their_width():
    other = GlobalLocalCritic(5, 3, hidden_channels=8).state_dict(
        prefix='muse.discrepancies.0.mi_critics.0.'
    )
    with pytest.raises(InputError, match='these tensors differ') as error:
        check_same('neck or head', weights('concat', 8), other)
    assert 'hidden_channels' not in str(error.value)
