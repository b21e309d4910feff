"""Tiny networks of timm and transformers with random weights."""

import atexit
import os
import shutil
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest

NUM_CLASSES = 5
_SMALL = dict(
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=16,
    image_size=32,
    patch_size=16,
)
VIT = dict(embed_dim=24, depth=1, num_heads=2)
SWIN = dict(embed_dim=12, depths=(1, 1), num_heads=(1, 2))


def timm_teacher(kind: str, **options) -> dict:
    """A network of timm by its name: ``vit``, ``convnext`` or ``swin``."""
    pytest.importorskip('timm')
    name, arguments = {
        'vit': ('vit_tiny_patch16_224', VIT),
        'convnext': ('convnext_atto', dict(depths=(1, 1, 1, 1), dims=(8, 16, 24, 32))),
        'swin': ('swin_tiny_patch4_window7_224', SWIN),
    }[kind]
    size = 64 if kind == 'convnext' else 32
    given = dict(pretrained=False, num_classes=NUM_CLASSES, input_size=size, options=arguments)
    return dict(name=f'timm::{name}', **{**given, **options})


def transformers_teacher(kind: str, **options) -> dict:
    """A network of transformers in a folder: ``vit``, ``swin`` or ``convnext``."""
    return dict(name=f'transformers::{folder(kind)}', pretrained=False, **options)


@cache
def folder(kind: str, classifies: bool = True, weights: bool = False) -> Path:
    """Write the config and the image processor of a network, and its weights if they are wanted."""
    transformers = pytest.importorskip('transformers')
    path = Path(mkdtemp(prefix=f'mmmuse_{kind}_'))
    atexit.register(_remove, path, os.getpid())
    name, arguments = {
        'vit': (
            'ViT',
            _SMALL,
        ),
        'swin': (
            'Swin',
            dict(
                image_size=32,
                patch_size=4,
                embed_dim=12,
                depths=[1, 1],
                num_heads=[1, 2],
                window_size=4,
            ),
        ),
        'convnext': ('ConvNext', dict(depths=[1, 1, 1, 1], hidden_sizes=[8, 16, 24, 32])),
        'clip': ('CLIP', dict(vision_config=_SMALL, text_config=dict(_SMALL, vocab_size=8))),
        'mae': ('ViTMAE', dict(_SMALL, image_size=64)),
    }[kind]
    role = 'ForImageClassification' if classifies else 'Model'
    config = getattr(transformers, f'{name}Config')(
        num_labels=NUM_CLASSES, architectures=[name + role], **arguments
    )
    config.save_pretrained(path)
    processor = transformers.ViTImageProcessor(
        size=dict(height=32, width=32),
        image_mean=[0.5, 0.4, 0.3],
        image_std=[0.2, 0.3, 0.4],
        resample=3,
    )
    processor.save_pretrained(path)
    if weights:
        getattr(transformers, name + role)(config).save_pretrained(path)
    return path


def _remove(path: Path, owner: int) -> None:
    """Remove a folder at the exit of the process that made it, not at that of its forks."""
    if os.getpid() == owner:
        shutil.rmtree(path, ignore_errors=True)
