"""Distilled networks whose norms have seen a few images, so that logits are of a usual size."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmmuse.distillers import SelfDistiller
from mmmuse.export.exit_network import exit_logits
from mmmuse.export.trained import build_distiller

from ..conftest import as_trained
from ..onnx_operators import onnx_operators_collected_once

__all__ = ['onnx_operators_collected_once']
CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


@pytest.fixture(scope='package', autouse=True)
def _operators_collected_once(onnx_operators_collected_once) -> None:
    """For every export of this folder."""


def settled(config: Config, image_shape: tuple[int, int, int]) -> SelfDistiller:
    """Build a config's distiller and let its norms see a few random images; in eval mode."""
    distiller = build_distiller(config)
    distiller.train()
    for _ in range(4):
        exit_logits(distiller, torch.randn(4, *image_shape))
    return as_trained(distiller).eval()
