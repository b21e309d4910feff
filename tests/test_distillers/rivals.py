"""The rivals of MUSE, small, with or without it."""

import torch

from mmmuse.distillers import LogitsDistiller
from mmmuse.heads.variants import variant_head
from mmmuse.registry import MODELS

from ..conftest import TAPS, labelled, small_classifier_config

BRANCH = dict(after='backbone.layer3', modules=['backbone.layer4', 'neck'])
RIVALS = {
    'cs_kd': dict(type='mmmuse.CSKDDistiller'),
    'ps_kd': dict(type='mmmuse.PSKDDistiller'),
    'ddgsd': dict(type='mmmuse.DDGSDDistiller'),
    'one': dict(type='mmmuse.ONEDistiller', branch=BRANCH),
    'frskd': dict(type='mmmuse.FRSKDDistiller', pyramid=dict(width=1)),
}
# Pairs of a class next to each other; two views, one after the other.
LABELS = {'cs_kd': [0, 0, 3, 3], 'ddgsd': [0, 3, 0, 3]}


def rival(name: str, muse: bool = False, **options) -> LogitsDistiller:
    """A rival on the small classifier, in training mode; with MI x SI, critics 16 wide."""
    config = dict(RIVALS[name], student=small_classifier_config(), taps=TAPS)
    if muse:
        head = variant_head('mi_x_si')
        head['discrepancy']['critic'].update(hidden_channels=16)
        config.update(head=head, neck=dict(type='mmmuse.SelfDistillNeck'))
    return MODELS.build({**config, **options}).train()


def batch(name: str) -> tuple[torch.Tensor, list]:
    """Four random images of 16x16 pixels and their labels, as the rival needs them."""
    return torch.randn(4, 3, 16, 16), labelled(LABELS.get(name, [0, 1, 2, 3]))
