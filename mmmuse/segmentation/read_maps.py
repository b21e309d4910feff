"""Which of a backbone's maps a segmenter's neck and decode head read."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmmuse.tapping.dry_run import frozen_in_eval
from mmmuse.tapping.features import FeatureSpec


def read_maps(student: nn.Module, specs: Sequence[FeatureSpec]) -> list[int]:
    """Return the numbers of the maps that the logits depend on, from 0.

    Args:
        student: mmseg's segmenter.
        specs: Shapes of its backbone's outputs.
    """
    parameter = next(student.parameters())
    generator = torch.Generator().manual_seed(0)
    maps = [
        torch.randn(1, spec.channels, *spec.grid, generator=generator).to(parameter)
        for spec in specs
    ]
    with frozen_in_eval(student), torch.enable_grad():
        for each in maps:
            each.requires_grad_()
        features = student.neck(tuple(maps)) if student.with_neck else maps
        output = student.decode_head.forward(features)
        tensors = [output] if isinstance(output, Tensor) else list(output)
        total = sum(tensor.float().sum() for tensor in tensors)
        gradients = torch.autograd.grad(total, maps, allow_unused=True)
    return [i for i, gradient in enumerate(gradients) if gradient is not None]
