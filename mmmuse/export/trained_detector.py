"""A detector with its trained weights, its exits with it."""

from copy import deepcopy

from mmdet.models.detectors import BaseDetector
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope

from mmmuse.checkpoints.files import read_checkpoint
from mmmuse.checkpoints.state_dicts import REST, check_same, halves, with_distiller_names
from mmmuse.detection import DetectionSelfDistiller
from mmmuse.distillers import BaseDistiller
from mmmuse.errors import InputError
from mmmuse.registry import MODELS


def detector_config(config: Config) -> dict:
    """Return a copy of a detector's config; of a distiller without exits that of its student.

    Raises:
        InputError: If the config has no model.
    """
    init_default_scope(config.get('default_scope') or 'mmdet')
    model = deepcopy(dict(config.get('model') or {}))
    kind = MODELS.get(str(model.get('type')))
    if isinstance(kind, type) and issubclass(kind, DetectionSelfDistiller):
        model.pop('neck', None)
        model['head'] = None  # The losses between features are for training.
    elif isinstance(kind, type) and issubclass(kind, BaseDistiller):
        model = deepcopy(dict(model.get('student') or {}))
    if not model.get('type'):
        raise InputError('the config has no model')
    if config.get('data_preprocessor') is not None:
        model.setdefault('data_preprocessor', deepcopy(config.data_preprocessor))
    return model


def load_trained_detector(config: Config, checkpoint: str, trust: bool = False) -> BaseModel:
    """Build the detector of a config with the weights of a checkpoint, in eval mode on the CPU.

    Args:
        config: Of a plain detector or a distilled one.
        checkpoint: Of its training.
        trust: Load a file that holds more than weights.

    Returns:
        The detector, a ``DetectionSelfDistiller`` where the config has exits;
        ``dataset_meta`` of the checkpoint (class names) as an attribute.

    Raises:
        InputError: If the config has no detector of mmdet, the checkpoint is of another network
            (the tensors that differ are named), or the config has exits and the checkpoint none.
    """
    model = detector_config(config)
    detector = MODELS.build(deepcopy(model))
    if not isinstance(detector, (BaseDetector, DetectionSelfDistiller)):
        raise InputError(f'the config has no detector of mmdet: its model is {model["type"]}')
    content = read_checkpoint(checkpoint, trust)
    weights = content.get('state_dict', content)
    if isinstance(detector, DetectionSelfDistiller):
        student, rest = halves(with_distiller_names(weights))
        own_student, own_rest = halves(detector.state_dict())
        check_same('network', own_student, student)
        exits = _exits(content.get(REST, rest))
        if not exits:
            raise InputError(f'{checkpoint} holds a student alone: its exits have not been trained')
        check_same('exit', own_rest, exits)
        weights = {**student, **exits}
    else:
        check_same('network', detector.state_dict(), weights)
    detector.load_state_dict(weights)
    detector.dataset_meta = content.get('meta', {}).get('dataset_meta')
    return detector.eval()


def _exits(weights: dict) -> dict:
    return {name: value for name, value in weights.items() if name.startswith('exits.')}
