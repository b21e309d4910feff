"""An exit of a detector as a detector of its own."""

from copy import deepcopy

from mmengine.model import BaseModel

from mmmuse.detection import DetectionSelfDistiller
from mmmuse.errors import InputError
from mmmuse.registry import MODELS

_BACKBONE = 'backbone.'


def exit_detector_config(model: dict, distiller: DetectionSelfDistiller, number: int) -> dict:
    """Return the config of a plain detector that is one exit of a distilled one.

    Args:
        model: Config of the distiller, :func:`mmmuse.export.trained_detector.detector_config`.
        distiller: The distiller that was built from it.
        number: Of the module that the exit is behind, from 1; one more than there are modules
            before the last is the whole detector.

    Returns:
        Config of the student's class: ``TruncatedBackbone``, ``ExitNeck``, the exit's head.

    Raises:
        InputError: If there is no such exit, or it cannot stand alone.
    """
    student = deepcopy(dict(model['student']))
    if model.get('data_preprocessor') is not None:
        student.setdefault('data_preprocessor', deepcopy(model['data_preprocessor']))
    if number == _last(distiller):
        return student
    exit, path = _exit(distiller, number), distiller.tap_paths.shallow[number - 1]
    if not path.startswith(_BACKBONE):
        raise InputError(
            f"exit {number} cannot stand alone: it is at {path!r}, not below 'backbone.'"
        )
    head = deepcopy(exit.head_config)
    for name in ('train_cfg', 'test_cfg'):  # mmdet's detectors give them to their heads.
        student[name] = head.pop(name, None)
    return {
        **student,
        'backbone': dict(
            type='mmmuse.TruncatedBackbone',
            backbone=student['backbone'],
            end=path.removeprefix(_BACKBONE),
            outs=[name.removeprefix(_BACKBONE) for name in distiller.reached_outputs(path)],
            input_shape=model.get('input_shape'),
        ),
        'neck': deepcopy(exit.neck_config),
        'bbox_head': head,
    }


def exit_detector(model: dict, distiller: DetectionSelfDistiller, number: int) -> BaseModel:
    """Return one exit of a distilled detector as a plain detector with the same weights.

    Args:
        model: Config of the distiller.
        distiller: The distiller; its weights are copied.
        number: See :func:`exit_detector_config`.

    Raises:
        InputError: See :func:`exit_detector_config`.
    """
    detector = MODELS.build(exit_detector_config(model, distiller, number))
    if number == _last(distiller):
        detector.load_state_dict(distiller.student.state_dict())
    else:
        exit = _exit(distiller, number)
        trunk = distiller.student.backbone.state_dict()
        body = detector.backbone.body
        body.load_state_dict({name: trunk[name] for name in body.state_dict()})
        detector.neck.load_state_dict(exit.neck.state_dict())
        detector.bbox_head.load_state_dict(exit.bbox_head.state_dict())
    return detector.train(distiller.training)


def _last(distiller: DetectionSelfDistiller) -> int:
    return len(distiller.tap_paths.shallow) + 1


def _exit(distiller: DetectionSelfDistiller, number: int) -> BaseModel:
    if number not in distiller.exit_modules:
        exits = ', '.join(map(str, distiller.exit_modules))
        raise InputError(
            f'there is no exit {number}: exits are {exits}, and {_last(distiller)} is the whole '
            'detector'
        )
    return distiller.exits[distiller.exit_modules.index(number)]
