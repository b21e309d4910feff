"""Conversion of RepDistiller's weights, the published teachers of table 7, to OpenMMLab's names."""

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mmmuse.errors import InputError

# RepDistiller's prefixes and ours; the first pattern that matches is used.
_RESNET = {
    r'(conv1|bn1|layer\d+)\.': r'backbone.\1.',
    r'fc\.': 'head.fc.',
}
_WIDE_RESNET = {
    r'(conv1|bn1)\.': r'backbone.\1.',
    r'block(\d+)\.layer\.(\d+)\.convShortcut\.': r'backbone.layer\1.\2.shortcut.',
    r'block(\d+)\.layer\.': r'backbone.layer\1.',
    r'fc\.': 'head.fc.',
}
# Convolutions and norms of a unit; RepDistiller counts stages from 1, mmpretrain from 0.
_SHUFFLENET = {
    r'(conv|bn)1\.': r'backbone.conv1.\1.',
    **{
        rf'layer{stage + 1}\.(\d+)\.(conv|bn){i}\.': rf'backbone.layers.{stage}.\1.{part}.\2.'
        for stage in range(3)
        for i, part in enumerate(('compress', 'depthwise', 'expand'), 1)
    },
    r'linear\.': 'head.fc.',
}


@dataclass(frozen=True)
class Network:
    """A network of RepDistiller.

    Attributes:
        config: The name of its config in ``configs/baselines``.
        names: Our prefix for each of its prefixes, a regular expression.
    """

    config: str
    names: Mapping[str, str]


NETWORKS = {
    **{
        f'resnet{depth}': Network(f'resnet{depth}_cifar100', _RESNET) for depth in (20, 32, 56, 110)
    },
    'wrn_40_2': Network('wrn-40-2_cifar100', _WIDE_RESNET),
    'ShuffleV1': Network('shufflenet-v1_cifar100', _SHUFFLENET),
}


def plain_name(network: str, name: str) -> str:
    """Return the OpenMMLab name of a tensor; unknown names are unchanged.

    Args:
        network: A key of ``NETWORKS``.
        name: As in RepDistiller's ``state_dict``.

    Example:
        >>> plain_name('wrn_40_2', 'block2.layer.0.convShortcut.weight')
        'backbone.layer2.0.shortcut.weight'
        >>> plain_name('ShuffleV1', 'layer1.3.bn2.running_mean')
        'backbone.layers.0.3.depthwise.bn.running_mean'
        >>> plain_name('resnet20', 'linear.weight')
        'linear.weight'
    """
    for pattern, replacement in NETWORKS[network].names.items():
        renamed, found = re.subn(f'^{pattern}', replacement, name)
        if found:
            return renamed
    return name


def plain_weights(network: str, content: Any) -> OrderedDict[str, Tensor]:
    """Return the weights of RepDistiller's checkpoint under OpenMMLab's names.

    Args:
        network: A key of ``NETWORKS``.
        content: Of the file: ``dict(model=state_dict, epoch=..., ...)``.

    Raises:
        InputError: If it has no ``model`` of tensors.
    """
    weights = content.get('model') if isinstance(content, dict) else None
    if (
        not weights
        or not isinstance(weights, dict)
        or not all(isinstance(value, Tensor) for value in weights.values())
    ):
        raise InputError(
            "not a checkpoint of RepDistiller: the file has no 'model' of named tensors"
        )
    return OrderedDict((plain_name(network, name), value) for name, value in weights.items())
