"""A backbone as a model that can be trained."""

import inspect
from collections.abc import Mapping

from mmengine.model import BaseModel
from mmpretrain.models.classifiers import ImageClassifier
from mmpretrain.models.utils import SelfSupDataPreprocessor
from torch import nn

from mmmuse.checkpoints.backbone_config import backbone_model
from mmmuse.errors import InputError
from mmmuse.registry import MODELS

_OF_VIEWS = set(inspect.signature(SelfSupDataPreprocessor.__init__).parameters) - {'self'}
_BACKBONE = 'backbone.'


def build_backbone(
    student: Mapping | str | nn.Module, data_preprocessor: Mapping | None = None
) -> BaseModel:
    """Build a backbone as mmpretrain's ``ImageClassifier`` without neck and head.

    Args:
        student: What :func:`mmmuse.checkpoints.backbone_config.backbone_model` takes, a built
            backbone, or a built model that is a backbone and nothing else.
        data_preprocessor: By default, and in place of mmpretrain's ``ClsDataPreprocessor``,
            its ``SelfSupDataPreprocessor``, which takes several views of an image.

    Raises:
        InputError: If the model has other parts with weights, or no backbone.
    """
    if isinstance(student, BaseModel):
        others = [name for name in student.state_dict() if not name.startswith(_BACKBONE)]
        if others:
            raise InputError(
                f'the student is a backbone, and the {type(student).__name__} has other weights, such '
                f'as {others[0]}: give model.backbone'
            )
        return student
    config = {} if isinstance(student, nn.Module) else backbone_model(student)
    own = config.pop('data_preprocessor', None)
    preprocessor = MODELS.build(_for_views(data_preprocessor or own or {}))
    if isinstance(student, nn.Module):
        return ImageClassifier(backbone=student, data_preprocessor=preprocessor)
    network = MODELS.build({**config, 'data_preprocessor': preprocessor})
    if 'norm_eval' not in config['backbone'] and getattr(network.backbone, 'norm_eval', False):
        network.backbone.norm_eval = False  # True by default in mmdet's ResNet.
    network._from_config = True  # Until keep_weights() has read it.
    return network


def _for_views(config: Mapping) -> dict:
    kind = config.get('type', 'ClsDataPreprocessor')
    if str(getattr(kind, '__name__', kind)).split('.')[-1] != 'ClsDataPreprocessor':
        return dict(config)
    read = {key: value for key, value in config.items() if key in _OF_VIEWS}
    return dict(type='mmpretrain.SelfSupDataPreprocessor', **read)
