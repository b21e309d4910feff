"""Load a checkpoint of a distiller, the student's part and the other, outside of a runner."""

from collections import OrderedDict

from torch import nn

from mmmuse.errors import InputError

from .files import read_checkpoint
from .state_dicts import (
    DISTILLER_KEY,
    check_same,
    split_state_dict,
    with_current_names,
    with_distiller_names,
)


def load_distiller(model: nn.Module, path: str, trust: bool = False) -> None:
    """Load all weights of a checkpoint that a distiller's training has saved.

    ``get_model``, ``init_detector`` and MMEngine's ``load_checkpoint`` read the student's part only.

    Args:
        model: A distiller built from the config of that training.
        path: Of the checkpoint.
        trust: Load a file that holds more than weights.

    Raises:
        InputError: If the checkpoint is of another network, or holds only a student.
    """
    content = read_checkpoint(path, trust)
    rest = content.get(DISTILLER_KEY)
    weights = OrderedDict(with_distiller_names(content.get('state_dict', content)))
    if rest is None and not split_state_dict(weights)[1]:
        raise InputError(f"{path} holds only the student's weights, without exits and critics")
    weights.update(with_current_names(dict(rest or {})))
    check_same('network', model.state_dict(), weights, path)
    model.load_state_dict(weights)
