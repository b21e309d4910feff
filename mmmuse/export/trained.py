"""Distilled networks, detectors and segmenters with their trained weights."""

import inspect
from collections.abc import Callable
from copy import deepcopy

from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from torch import nn

from mmmuse.checkpoints.files import read_checkpoint
from mmmuse.checkpoints.state_dicts import (
    DISTILLER_KEY,
    check_same,
    split_state_dict,
    with_current_names,
    with_distiller_names,
)
from mmmuse.distillers import BaseDistiller, DenseSelfDistiller, SelfDistiller
from mmmuse.errors import InputError
from mmmuse.registry import MODELS, look_up
from mmmuse.tapping.dry_run import is_detector, is_segmenter

from .exit_network import check_has_exits

# The library of a dense network, the distiller that adds exits to it, and how a user gets there.
_DENSE = {
    'detector': (
        'mmdet',
        'mmmuse.DetectionSelfDistiller',
        'see docs/detectors.md, "A detector with an exit"',
    ),
    'segmenter': (
        'mmseg',
        'mmmuse.SegmentationSelfDistiller',
        'mmmuse wrap adds exits to a config',
    ),
}


def model_config(config: Config) -> dict:
    """Return a copy of a config's model as a plain ``SelfDistiller``.

    Raises:
        InputError: If it is not one, or has no head and therefore no exits.
    """
    model = _copy(config.get('model'), config, 'mmpretrain')
    if issubclass(_class_of(model), DenseSelfDistiller):
        raise InputError(
            f'this command reads the exits of classifiers, and the model is {model["type"]}: use mmmuse '
            'complexity or mmmuse export'
        )
    if not issubclass(_class_of(model), SelfDistiller) or not model.get('head'):
        raise InputError(
            f'the config has no exits: its model is {model.get("type")}, not mmmuse.SelfDistiller '
            'or another distiller with a head'
        )
    read = {'_scope_', *inspect.signature(SelfDistiller).parameters}
    model = {key: value for key, value in model.items() if key in read}
    return {**model, 'type': 'mmmuse.SelfDistiller'}


def dense_config(config: Config, scope: str) -> dict:
    """Return a copy of the config of a detector or a segmenter; of a distiller without exits that of its student.

    Args:
        config: A complete config.
        scope: That of the library, if the config has no ``default_scope``.

    Raises:
        InputError: If the config has no model.
    """
    model = _copy(config.get('model'), config, scope)
    if issubclass(_class_of(model), DenseSelfDistiller):
        model.pop('neck', None)
        model['head'] = None  # The losses between features are for training.
    elif issubclass(_class_of(model), BaseDistiller):
        model = _copy(model.get('student'), config, scope)
    if not model.get('type'):
        raise InputError('the config has no model')
    return model


def detector_config(config: Config) -> dict:
    """Return :func:`dense_config` of a detector."""
    return dense_config(config, 'mmdet')


def trains_detector(config: Config) -> bool:
    """Return whether a config's model, or the student of its distiller, is a detector of mmdet."""
    return _trains(config, 'mmdet.models.detectors')


def trains_segmenter(config: Config) -> bool:
    """Return whether a config's model, or the student of its distiller, is a segmenter of mmseg."""
    return _trains(config, 'mmseg.models.segmentors')


def trained_kind(config: Config) -> str:
    """Return what a config trains: ``'classifier'``, ``'detector'`` or ``'segmenter'``."""
    if trains_segmenter(config):
        return 'segmenter'
    return 'detector' if trains_detector(config) else 'classifier'


def _trains(config: Config, module: str) -> bool:
    model = _copy(config.get('model'), config, 'mmpretrain')
    if issubclass(_class_of(model), BaseDistiller):
        model = model.get('student') or {}
    kinds = _class_of(model).__mro__
    return any(kind.__module__.startswith(module) for kind in kinds)


def _copy(model: dict | None, config: Config, scope: str) -> dict:
    init_default_scope(config.get('default_scope') or scope)
    model = deepcopy(dict(model or {}))
    if config.get('data_preprocessor') is not None:
        model.setdefault('data_preprocessor', deepcopy(config.data_preprocessor))
    return model


def _class_of(model: dict) -> type:
    kind = look_up(MODELS, str(model.get('type')), model.get('_scope_'))
    return kind if isinstance(kind, type) else object


def build_distiller(config: Config) -> SelfDistiller:
    """Build the distiller of :func:`model_config`, without the additions of a subclass for training."""
    return MODELS.build(model_config(config))


def build_with_exits(config: Config) -> tuple[dict, SelfDistiller]:
    """Build the distiller of a classifier, a detector or a segmenter that has exits.

    Args:
        config: A complete config.

    Returns:
        The config of the distiller, and the distiller with random weights.

    Raises:
        InputError: If it has no exits.
    """
    kind = trained_kind(config)
    if kind == 'classifier':
        distiller = build_distiller(config)
        check_has_exits(distiller)
        return config.model, distiller
    library, expected, remedy = _DENSE[kind]
    model = dense_config(config, library)
    if not issubclass(_class_of(model), DenseSelfDistiller):
        raise InputError(
            f'the config has no exits: its model is {config.model.type}, not {expected}; {remedy}'
        )
    return model, MODELS.build(deepcopy(model))


def load_trained(config: Config, checkpoint: str, trust: bool = False) -> SelfDistiller:
    """Build the distiller of a config with the weights of a checkpoint, in eval mode on the CPU.

    Args:
        config: Of a distilled network.
        checkpoint: Saved by training with this config.
        trust: Load a file that holds more than weights.

    Returns:
        The distiller; ``dataset_meta`` of the checkpoint (class names) as an attribute.

    Raises:
        InputError: If the checkpoint is of another network (the message names the tensors
            that differ), or has no exits.
    """
    distiller = build_distiller(config)
    return load_content(distiller, read_checkpoint(checkpoint, trust), checkpoint)


def load_trained_detector(config: Config, checkpoint: str, trust: bool = False) -> BaseModel:
    """Build a detector, a ``DetectionSelfDistiller`` where the config has exits.

    See :func:`load_trained`; an ``InputError`` also if the config has no detector of mmdet.
    """
    return _load_dense(config, checkpoint, trust, 'mmdet', is_detector, 'detector')


def load_trained_segmenter(config: Config, checkpoint: str, trust: bool = False) -> BaseModel:
    """Build a segmenter, a ``SegmentationSelfDistiller`` where the config has exits.

    See :func:`load_trained`; an ``InputError`` also if the config has no segmenter of mmseg.
    """
    return _load_dense(config, checkpoint, trust, 'mmseg', is_segmenter, 'segmenter')


def _load_dense(
    config: Config,
    checkpoint: str,
    trust: bool,
    library: str,
    is_kind: Callable[[nn.Module], bool],
    kind: str,
) -> BaseModel:
    model = dense_config(config, library)
    network = MODELS.build(deepcopy(model))
    if not is_kind(getattr(network, 'student', network)):
        raise InputError(f'the config has no {kind} of {library}: its model is {model["type"]}')
    return load_content(network, read_checkpoint(checkpoint, trust), checkpoint)


def load_content(network: BaseModel, content: dict, path: str) -> BaseModel:
    """Load the content of a checkpoint into a plain network or a distiller; set it to eval mode.

    Raises:
        InputError: If the checkpoint is of another network, or has no exits.
    """
    weights = content.get('state_dict', content)
    if isinstance(network, SelfDistiller):
        weights = _distiller_weights(network, weights, content.get(DISTILLER_KEY), path)
    else:
        check_same('network', network.state_dict(), weights, path)
    network.load_state_dict(weights)
    network.dataset_meta = content.get('meta', {}).get('dataset_meta')
    return network.eval()


def _distiller_weights(
    distiller: SelfDistiller, weights: dict, rest: dict | None, path: str
) -> dict:
    """Return the trained weights of student and exits; critics keep those of the distiller."""
    own = distiller.state_dict()
    student, others = split_state_dict(with_distiller_names(weights))
    check_same('network', split_state_dict(own)[0], student, path)
    with_exits = isinstance(distiller, DenseSelfDistiller)
    parts = [distiller.exits] if with_exits else [distiller.adapters, distiller.muse.exits]
    prefixes = tuple(
        f'{name}.' for name, module in distiller.named_modules() if any(module is p for p in parts)
    )
    own_exits, exits = (
        {name: value for name, value in each.items() if name.startswith(prefixes)}
        for each in (own, with_current_names(others if rest is None else rest))
    )
    if own_exits and not exits:
        raise InputError(
            f"{path} holds only the student's weights: its exits have not been trained"
        )
    check_same('exit', own_exits, exits, path)
    return {**own, **student, **exits}
