from torch import Tensor

from mmmuse.errors import InputError


def refuse_empty_scores(function: str, first: Tensor, second: Tensor) -> None:
    """Check that both sets of scores have a mean.

    Raises:
        InputError: If either is empty; the message names the function.
    """
    if first.numel() == 0 or second.numel() == 0:
        raise InputError(
            f'{function} needs at least one score on each side, got shapes '
            f'{tuple(first.shape)} and {tuple(second.shape)}'
        )
