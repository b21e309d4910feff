from torch import Tensor

from mmmuse.errors import InputError


def refuse_empty_scores(function: str, first: Tensor, second: Tensor) -> None:
    """Refuse scores of which a mean cannot be taken.

    Raises:
        InputError: If either side holds no score; names the function.
    """
    if first.numel() == 0 or second.numel() == 0:
        raise InputError(
            f'{function} needs at least one score on each side, got shapes '
            f'{tuple(first.shape)} and {tuple(second.shape)}'
        )
