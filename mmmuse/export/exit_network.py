"""An exit of a distilled network as a network of its own."""

from copy import deepcopy

import torch
from mmengine.model import BaseModel
from mmpretrain.models import ImageClassifier
from torch import Tensor

from mmmuse.distillers import SelfDistiller
from mmmuse.errors import InputError
from mmmuse.registry import MODELS

_BACKBONE = 'backbone.'


def num_exits(distiller: SelfDistiller) -> int:
    """Return T: the exits of a distilled network, the last being the network itself."""
    return len(distiller.head.exits) + 1


def exit_network_config(model: dict, distiller: SelfDistiller, number: int) -> dict:
    """Return the config of a plain classifier that is one exit of a distilled network.

    Args:
        model: Config of the distiller, as in ``config.model``.
        distiller: The distiller that was built from it.
        number: Of the exit, 1 to T; T is the network itself.

    Returns:
        Config of the student's class: ``TruncatedBackbone``, the exit's
        bottleneck with global average pooling, the exit's classifier.

    Raises:
        InputError: If there is no such exit, or it cannot stand alone.
    """
    check_exit(distiller, number)
    student = deepcopy(dict(model['student']))
    if model.get('data_preprocessor') is not None:
        student.setdefault('data_preprocessor', deepcopy(model['data_preprocessor']))
    if number == num_exits(distiller):
        return student
    path = distiller.tap_paths.shallow[number - 1]
    if not isinstance(distiller.student, ImageClassifier) or not path.startswith(_BACKBONE):
        raise InputError(
            f'exit {number} cannot stand alone: it is at {path!r} of a '
            f"{type(distiller.student).__name__}, not below 'backbone.' of an ImageClassifier"
        )
    exit = distiller.head.exits[number - 1]
    head = {'type': 'LinearClsHead', **deepcopy(dict(model['head'].get('exit') or {}))}
    if 'loss' not in head and 'loss' in (student.get('head') or {}):
        head['loss'] = student['head']['loss']
    head.update(num_classes=exit.num_classes, in_channels=exit.in_channels)
    return {
        **student,
        'backbone': dict(
            type='mmmuse.TruncatedBackbone',
            backbone=student['backbone'],
            end=path.removeprefix(_BACKBONE),
            input_shape=model.get('input_shape'),
        ),
        'neck': [
            distiller.neck.config_of(number - 1),
            dict(type='GlobalAveragePooling'),
        ],
        'head': head,
    }


def exit_network(model: dict, distiller: SelfDistiller, number: int) -> BaseModel:
    """Return one exit of a distilled network as a plain classifier with the same weights.

    Args:
        model: Config of the distiller.
        distiller: The distiller; its weights are copied.
        number: Of the exit, 1 to T.

    Raises:
        InputError: See :func:`exit_network_config`.
    """
    network = MODELS.build(exit_network_config(model, distiller, number))
    if number == num_exits(distiller):
        network.load_state_dict(distiller.student.state_dict())
    else:
        trunk = distiller.student.backbone.state_dict()
        network.backbone.body.load_state_dict(
            {name: trunk[name] for name in network.backbone.body.state_dict()}
        )
        bottleneck = distiller.neck.bottlenecks[number - 1]
        network.neck[0].bottlenecks[0].load_state_dict(bottleneck.state_dict())
        network.head.load_state_dict(distiller.head.exits[number - 1].state_dict())
    network.train(distiller.training)
    return network


@torch.no_grad()
def exit_logits(distiller: SelfDistiller, images: Tensor) -> list[Tensor]:
    """Return the logits of every exit, the network's own last.

    Args:
        distiller: With exits, and in the mode in which it is to run.
        images: ``(N, C, H, W)``, normalised.

    Returns:
        T tensors ``(N, K)``.
    """
    with distiller.taps:
        distiller.student(images, mode='tensor')
        features = distiller.collect()
    return [*distiller.head.exit_logits(features), features.logits]


def check_exit(distiller: SelfDistiller, number: int) -> None:
    """Refuse the number of an exit that is not there.

    Raises:
        InputError: Saying which there are.
    """
    total = num_exits(distiller)
    if total == 1:
        raise InputError('this config distils without exits (ce_weight=0, kd_weight=0)')
    if not 1 <= number <= total:
        raise InputError(
            f'there is no exit {number}: exits are 1 to {total}, {total} being the whole network'
        )
