"""Offline and online distillers, small, with every loss between networks."""

import torch

from mmmuse.distillers import FeatureDistiller, OfflineDistiller, OnlineDistiller
from mmmuse.registry import MODELS

from ..conftest import labelled

TAPS = dict(
    modules=['backbone.relu', 'backbone.layer1', 'backbone.layer2'],
    last='backbone.layer3',
    logits='head',
)
MUSE = dict(type='mmmuse.MUSELoss', loss_weight=1.0, critic=dict(hidden_channels=8))
CRD = dict(type='mmmuse.CRDLoss', embed_channels=8, num_negatives=6)
OFFLINE_LOSSES = [
    dict(type='mmmuse.KDLoss', temperature=4),
    dict(type='mmmuse.FitNetLoss', modules=[3]),
    dict(type='mmmuse.AttentionTransferLoss', modules=[2, 3, 4]),
    dict(type='mmmuse.VIDLoss', modules=[2, 3, 4]),
    dict(type='mmmuse.MMDLoss', modules=[4]),
    CRD,
    dict(type='mmmuse.DKDLoss'),
    dict(type='mmmuse.ReviewKDLoss', modules=[2, 3, 4]),
    MUSE,
]
ONLINE_LOSSES = [
    dict(type='mmmuse.KDLoss', temperature=4),
    dict(type='mmmuse.KDCLLoss'),
    dict(type='mmmuse.AFDLoss'),
    CRD,
    MUSE,
]
LABELS = torch.tensor([0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1])


def network(width: int = 4, num_classes: int = 5, in_channels: int = 3, **options) -> dict:
    """A ResNet-20 of ``width``, twice and four times ``width`` channels."""
    return dict(
        type='ImageClassifier',
        _scope_='mmpretrain',
        backbone=dict(
            type='mmmuse.SmallResNetCIFAR',
            depth=20,
            in_channels=in_channels,
            stem_channels=width,
            base_channels=width,
        ),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=num_classes, in_channels=4 * width),
        **options,
    )


def offline(*losses: dict, **options) -> OfflineDistiller:
    """A network of width 4 that learns from one of width 6, in training mode."""
    config = dict(
        type='mmmuse.OfflineDistiller',
        student=network(),
        teacher=MODELS.build(network(6)),
        taps=TAPS,
        losses=list(losses or OFFLINE_LOSSES),
    )
    distiller = MODELS.build({**config, **options}).train()
    distiller.prepare(LABELS)
    return distiller


def online(*losses: dict, peers: tuple[str, ...] = ('a', 'b'), **options) -> OnlineDistiller:
    """Networks of widths 4, 6, ... that learn together, in training mode."""
    config = dict(
        type='mmmuse.OnlineDistiller',
        peers={name: dict(model=network(4 + 2 * i), taps=TAPS) for i, name in enumerate(peers)},
        losses=list(losses or ONLINE_LOSSES),
    )
    distiller = MODELS.build({**config, **options}).train()
    distiller.prepare(LABELS)
    return distiller


def features(**options) -> FeatureDistiller:
    """A transformer, of which the second of two outputs is read, that learns from a ResNet-20."""
    swin = dict(
        type='mmpretrain.SwinTransformer',
        arch=dict(embed_dims=8, depths=[1, 1], num_heads=[1, 2]),
        img_size=16,
        patch_size=2,
        window_size=4,
        out_indices=(0, 1),
    )
    losses = [dict(type='mmmuse.MapAlignmentLoss'), dict(type='mmmuse.VectorAlignmentLoss')]
    config = dict(
        type='mmmuse.FeatureDistiller',
        student=swin,
        teacher=MODELS.build(network(6)),
        losses=losses,
    )
    return MODELS.build({**config, **options}).train()


def batch() -> tuple[torch.Tensor, list]:
    """Four random images of 16x16 pixels, which are the first ones of the set."""
    samples = labelled(LABELS[:4])
    for i, sample in enumerate(samples):
        sample.set_metainfo(dict(sample_idx=i))
    return torch.randn(4, 3, 16, 16), samples
