"""The config of a backbone as a plain model of its own."""

from collections.abc import Mapping
from copy import deepcopy

from mmmuse.errors import InputError

from .network_config import network_config
from .network_names import LIBRARIES

# What a config freezes for its own task, and what a backbone that learns as a whole has instead.
_TRAINED = dict(frozen_stages=-1, norm_eval=False)


def backbone_model(source: Mapping | str) -> dict:
    """Return the config of mmpretrain's ``ImageClassifier`` with a backbone, and nothing else.

    Its weights are ``backbone.*``, the names that they have in a classifier, detector or segmenter.

    Args:
        source: Config of a backbone or of a model that has one, a complete config, the path of a
            config file or ``'mmdet::folder/file.py'``. Stages and normalisation that the model
            keeps frozen are trained here.

    Raises:
        InputError: If the model has no ``backbone``.
    """
    network = network_config(source)
    if network.get('type') in LIBRARIES.values():
        raise InputError(f'{source!r} is a network of another library and can be a teacher only')
    if _is_classifier(network) and network.get('neck') is None and network.get('head') is None:
        return network
    backbone = network
    if 'backbone' in network:
        backbone = deepcopy(dict(network['backbone']))
        if network.get('pretrained') is not None:  # mmseg's way to write it.
            pretrained = dict(type='Pretrained', checkpoint=network['pretrained'])
            backbone.setdefault('init_cfg', pretrained)
    elif {'neck', 'head', 'bbox_head', 'decode_head'} & set(network):
        name = source if isinstance(source, str) else network.get('type')
        raise InputError(f'the student is a backbone, and the model of {name} has none')
    backbone.update({key: value for key, value in _TRAINED.items() if key in backbone})
    if network.get('_scope_') is not None:
        backbone.setdefault('_scope_', network['_scope_'])
    return dict(type='mmpretrain.ImageClassifier', backbone=backbone)


def _is_classifier(network: Mapping) -> bool:
    kind = network.get('type')
    return str(getattr(kind, '__name__', kind)).split('.')[-1] == 'ImageClassifier'
