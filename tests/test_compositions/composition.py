"""One network of a family: proposed, distilled for a step, and asked for a prediction."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor, nn

import mmmuse
from mmmuse.checkpoints.network_config import network_config, packaged_config
from mmmuse.distillers import SelfDistiller
from mmmuse.registry import MODELS
from mmmuse.tapping.proposal import TapProposal, propose_taps

TINY_MUSE = dict(discrepancy=dict(critic=dict(hidden_channels=4, num_locations=4)))


@dataclass(frozen=True)
class Family:
    """A network of a family, made small.

    Attributes:
        config: Name of the config, without the library's scope; or the config of a model.
        size: Side of the images, or ``(H, W)``.
        model: What to change in the config's model, by dotted keys.
        channels: Of the images.
        num_modules: T.
        note: What a user has to know, for the page.
    """

    config: str | dict
    size: int | tuple[int, int] = 64
    model: dict = field(default_factory=dict)
    channels: int = 3
    num_modules: int = 4
    note: str = ''

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """``(C, H, W)`` of the images."""
        size = (self.size, self.size) if isinstance(self.size, int) else self.size
        return (self.channels, *size)

    def build(self, scope: str) -> nn.Module:
        """Build the network; the scope is that of its library."""
        config = self.config
        if isinstance(config, str):
            config = packaged_config(f'{scope}::{config}.py')
        config = Config(network_config(config))
        for path, value in self.model.items():
            *parents, name = path.split('.')
            part = config
            for parent in parents:
                part = part[int(parent) if parent.isdigit() else parent]
            part[name] = value
        with DefaultScope.overwrite_default_scope(scope):
            return MODELS.build(config._cfg_dict)


def with_other_weights(model: nn.Module, seed: int) -> nn.Module:
    """Give a model weights as training may leave them: of other scales, some nearly zero."""
    generator = torch.Generator().manual_seed(seed)

    def scale() -> float:
        return (1e-6, 0.03, 1.0, 5.0)[int(torch.randint(4, (), generator=generator))]

    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale())
        for name, buffer in model.named_buffers():
            if name.endswith(('running_mean', 'running_var')):
                buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.1)
    return model


def proposed(family: Family, model: nn.Module) -> TapProposal:
    return propose_taps(model, family.num_modules, family.input_shape)


def distilled(family: Family, model: nn.Module, proposal: TapProposal) -> SelfDistiller:
    """Wrap a built network with the taps of its proposal."""
    return mmmuse.distill(
        model,
        list(proposal.modules),
        proposal.last,
        proposal.logits,
        variant='mi_x_si' if proposal.logits else 'mi_x_si_alone',
        input_shape=family.input_shape,
        **TINY_MUSE,
    )


def take_step(distiller: SelfDistiller, images: Tensor, samples: list) -> dict[str, Any]:
    """Run one training step without an optimizer; return the log."""
    total, log = distiller.parse_losses(distiller(images, samples, mode='loss'))
    total.backward()
    for name, parameter in distiller.named_parameters():
        if not name.startswith('student.'):
            assert parameter.grad is not None, name
        assert parameter.grad is None or parameter.grad.isfinite().all(), name
    return log


def boxes_and_masks(shape: tuple[int, int, int]) -> list:
    """Return data samples of mmdet for two images, each with two objects."""
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks
    from mmengine.structures import InstanceData, PixelData

    _, height, width = shape
    size = (height, width)
    boxes = torch.tensor([[0.1, 0.1, 0.6, 0.7], [0.3, 0.2, 0.9, 0.9]])
    boxes = boxes * torch.tensor([width, height, width, height])
    masks = np.zeros((2, height, width), np.uint8)
    for mask, (left, top, right, bottom) in zip(masks, boxes.int().tolist(), strict=True):
        mask[top:bottom, left:right] = 1
    samples = []
    for number in range(2):
        sample = DetDataSample(
            metainfo=dict(
                img_id=number,
                img_shape=size,
                ori_shape=size,
                pad_shape=size,
                batch_input_shape=size,
                scale_factor=(1.0, 1.0),
                border=np.array([0, height, 0, width]),
            )
        )
        sample.gt_instances = InstanceData(
            bboxes=boxes.clone(), labels=torch.tensor([0, 0]), masks=BitmapMasks(masks, *size)
        )
        sample.ignored_instances = InstanceData(
            bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long)
        )
        sample.proposals = InstanceData(bboxes=boxes.clone(), scores=torch.ones(2))
        sample.gt_sem_seg = PixelData(sem_seg=torch.zeros(1, *size, dtype=torch.long))
        samples.append(sample)
    return samples
