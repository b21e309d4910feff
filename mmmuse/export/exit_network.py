"""An exit of a distilled network as a plain classifier, detector or segmenter."""

from copy import deepcopy

import torch
from mmengine.model import BaseModel
from mmpretrain.models import ImageClassifier
from torch import Tensor, nn

from mmmuse.distillers import DenseSelfDistiller, SelfDistiller
from mmmuse.distillers.exit_classifier import exit_head_config
from mmmuse.errors import InputError
from mmmuse.registry import MODELS
from mmmuse.tapping.dry_run import is_detector, is_segmenter

_BACKBONE = 'backbone.'


def exits_of(distiller: SelfDistiller) -> dict[int, nn.Module]:
    """Return the exits, without the full network, by the number of the module that each follows."""
    if isinstance(distiller, DenseSelfDistiller):
        return dict(zip(distiller.exit_modules, distiller.exits, strict=True))
    return dict(enumerate(distiller.muse.exits, 1))


def num_exits(distiller: SelfDistiller) -> int:
    """Return T, the number of the full network as the last exit."""
    return len(distiller.tap_paths.shallow) + 1


def check_has_exits(distiller: SelfDistiller) -> None:
    """Check that a distiller has exits.

    Raises:
        InputError: If it does not.
    """
    if not exits_of(distiller):
        raise InputError('this config distils without exits (ce_weight=0, kd_weight=0)')


def check_exit(distiller: SelfDistiller, number: int) -> None:
    """Check that a distiller has an exit, the full network included.

    Raises:
        InputError: If it does not; the message lists the exits.
    """
    check_has_exits(distiller)
    exits, last = exits_of(distiller), num_exits(distiller)
    if number not in exits and number != last:
        raise InputError(
            f'unknown exit {number}; available: {", ".join(map(str, exits))}, and {last}, '
            'the full network'
        )


def exit_network_config(model: dict, distiller: SelfDistiller, number: int) -> dict:
    """Return the config of a plain model that is one exit of a distilled network.

    Args:
        model: Config of the distiller.
        distiller: The distiller that was built from it.
        number: Of the exit, 1 to T; T is the full network.

    Returns:
        Config of the student's class with a ``TruncatedBackbone`` and the exit's neck and head.

    Raises:
        InputError: If the exit does not exist, or is not in the backbone of a classifier, a
            detector or a segmenter.
    """
    check_exit(distiller, number)
    student = deepcopy(dict(model['student']))
    if model.get('data_preprocessor') is not None:
        student.setdefault('data_preprocessor', deepcopy(model['data_preprocessor']))
    if number == num_exits(distiller):
        return student
    path = distiller.tap_paths.shallow[number - 1]
    dense = is_detector(distiller.student) or is_segmenter(distiller.student)
    known = isinstance(distiller.student, ImageClassifier) or dense
    if not known or not path.startswith(_BACKBONE):
        raise InputError(
            f'exit {number} cannot be exported: it is at {path!r} of a '
            f"{type(distiller.student).__name__}, not below 'backbone.' of a classifier, detector or segmenter"
        )
    backbone = dict(
        type='mmmuse.TruncatedBackbone',
        backbone=student['backbone'],
        end=path.removeprefix(_BACKBONE),
        input_shape=model.get('input_shape'),
    )
    # Tokens of images that are not square have no grid without the image.
    height, width = distiller.tap_specs[path].grid or (1, 1)
    backbone['as_maps'] = is_segmenter(distiller.student) or height != width
    if dense:
        reached = distiller.reached_outputs(path)
        backbone['outs'] = [name.removeprefix(_BACKBONE) for name in reached]
    if is_segmenter(distiller.student):
        student.pop('num_stages', None)  # Of a cascade; the exit is not one.
        parts = _segmenter_parts(distiller, number)
    elif dense:
        parts = _detector_parts(distiller, number)
    else:
        parts = _classifier_parts(model, distiller, number)
    return {**student, 'backbone': backbone, **parts}


def _detector_parts(distiller: SelfDistiller, number: int) -> dict:
    """Return neck and head; in mmdet, the detector gives ``train_cfg`` and ``test_cfg`` to the head."""
    exit = exits_of(distiller)[number]
    head = deepcopy(exit.head_config)
    cfgs = {name: head.pop(name, None) for name in ('train_cfg', 'test_cfg')}
    return {**cfgs, 'neck': deepcopy(exit.neck_config), 'bbox_head': head}


def _segmenter_parts(distiller: SelfDistiller, number: int) -> dict:
    exit = exits_of(distiller)[number]
    parts = dict(neck=deepcopy(exit.neck_config), decode_head=deepcopy(exit.head_config))
    return dict(type='EncoderDecoder', auxiliary_head=None, pretrained=None, **parts)


def _classifier_parts(model: dict, distiller: SelfDistiller, number: int) -> dict:
    """Return the bottleneck with global average pooling, and the head of the exit, with the student's loss."""
    exit = exits_of(distiller)[number]
    given = deepcopy(dict(model['head'].get('exit') or {}))
    head = {'type': 'LinearClsHead', **exit_head_config(distiller.student, given)}
    of_student = model['student'].get('head') or {}
    if 'loss' not in head and 'loss' in of_student:
        head['loss'] = deepcopy(of_student['loss'])
    head.update(num_classes=exit.num_classes, in_channels=exit.in_channels)
    pooling = dict(type='GlobalAveragePooling')
    return dict(neck=[distiller.adapters.config_of(number - 1), pooling], head=head)


def exit_network(model: dict, distiller: SelfDistiller, number: int) -> BaseModel:
    """Build the model of :func:`exit_network_config` with a copy of the distiller's weights."""
    network = MODELS.build(exit_network_config(model, distiller, number))
    if number == num_exits(distiller):
        network.load_state_dict(distiller.student.state_dict())
        return network.train(distiller.training)
    trunk = distiller.student.backbone.state_dict()
    body = network.backbone.body
    body.load_state_dict({name: trunk[name] for name in body.state_dict()})
    exit = exits_of(distiller)[number]
    if is_detector(network):
        copies = [(network.neck, exit.adapter), (network.bbox_head, exit.predictor)]
    elif is_segmenter(network):
        copies = [(network.neck, exit.adapter)] if network.with_neck else []
        copies.append((network.decode_head, exit.predictor))
    else:
        bottleneck = distiller.adapters.branches[number - 1]
        copies = [(network.neck[0].branches[0], bottleneck), (network.head, exit)]
    for part, trained in copies:
        part.load_state_dict(trained.state_dict())
    return network.train(distiller.training)


@torch.no_grad()
def exit_logits(distiller: SelfDistiller, images: Tensor) -> list[Tensor]:
    """Return the logits ``(N, K)`` of all T exits of a classifier, the full network last.

    Args:
        distiller: With exits; in eval mode for evaluation.
        images: ``(N, C, H, W)``, normalized.
    """
    with distiller.tapped:
        distiller.student(images, mode='tensor')
        features = distiller.collect(images.shape[2:])
    return [*distiller.muse.exit_logits(features), features.logits]
