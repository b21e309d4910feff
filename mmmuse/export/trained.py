"""A distilled network with its trained weights."""

import inspect
from copy import deepcopy

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner.checkpoint import get_torch_safe_globals

from mmmuse.checkpoints.state_dicts import (
    REST,
    check_same,
    halves,
    with_current_names,
    with_distiller_names,
)
from mmmuse.distillers import SelfDistiller
from mmmuse.errors import InputError
from mmmuse.registry import MODELS


def build_distiller(config: Config) -> SelfDistiller:
    """Build the plain distiller of a config: what a subclass adds for training is left out.

    Raises:
        InputError: If its model is no ``SelfDistiller``, or has no head.
    """
    return MODELS.build(model_config(config))


def model_config(config: Config) -> dict:
    """Return a copy of a config's model, which building may change, as a ``SelfDistiller``.

    Raises:
        InputError: If it is none, or has no head and so no exits.
    """
    init_default_scope(config.get('default_scope') or 'mmpretrain')
    model = deepcopy(dict(config.model))
    kind = MODELS.get(str(model.get('type')))
    if not (isinstance(kind, type) and issubclass(kind, SelfDistiller)) or not model.get('head'):
        raise InputError(
            f'the config has no exits: its model is {model.get("type")}, not mmmuse.SelfDistiller '
            'or another distiller with a head'
        )
    if config.get('data_preprocessor') is not None:
        model.setdefault('data_preprocessor', deepcopy(config.data_preprocessor))
    read = {'_scope_', *inspect.signature(SelfDistiller).parameters}
    model = {key: value for key, value in model.items() if key in read}
    return {**model, 'type': 'mmmuse.SelfDistiller'}


def load_trained(config: Config, checkpoint: str, trust: bool = False) -> SelfDistiller:
    """Build the distiller of a config with the weights of a checkpoint, in eval mode on the CPU.

    Args:
        config: Of a distilled network.
        checkpoint: A file that training with it has saved.
        trust: Load a file that holds more than weights.

    Returns:
        The distiller; ``dataset_meta`` of the checkpoint (class names) as an attribute.

    Raises:
        InputError: If the checkpoint is of another network (the tensors that
            differ are named) or holds a student alone.
    """
    distiller = build_distiller(config)
    with torch.serialization.safe_globals(get_torch_safe_globals()):
        content = torch.load(checkpoint, map_location='cpu', weights_only=not trust)
    student, rest = halves(with_distiller_names(content.get('state_dict', content)))
    own_student, own_rest = halves(distiller.state_dict())
    check_same('network', own_student, student)
    rest = with_current_names(content.get(REST, rest))
    if not rest and own_rest:
        raise InputError(f'{checkpoint} holds a student alone: its exits have not been trained')
    # The critics are not needed, so they may be others.
    check_same('exit', _exits(own_rest), _exits(rest))
    distiller.load_state_dict({**own_rest, **student, **_exits(rest)})
    distiller.dataset_meta = content.get('meta', {}).get('dataset_meta')
    return distiller.eval()


def _exits(weights: dict) -> dict:
    return {
        name: value
        for name, value in weights.items()
        if name.startswith(('adapters.', 'muse.exits.'))
    }
