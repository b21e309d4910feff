"""One network of a family: proposed, distilled for a step, and asked for a prediction."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from unittest import mock

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
        annotations: What the data samples of a detector have beside boxes: ``'masks'``,
            ``'pairwise_masks'``, ``'proposals'``.
        note: What a user has to know, for the page.
    """

    config: str | dict
    size: int | tuple[int, int] = 64
    model: dict = field(default_factory=dict)
    channels: int = 3
    num_modules: int = 4
    annotations: tuple[str, ...] = ('masks',)
    note: str = ''

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """``(C, H, W)`` of the images."""
        size = (self.size, self.size) if isinstance(self.size, int) else self.size
        return (self.channels, *size)

    def network(self, scope: str) -> Config:
        """Return the config of the network; the scope is that of its library."""
        config = self.config
        if isinstance(config, str):
            config = deepcopy(_packaged(f'{scope}::{config}.py'))
        config = Config(network_config(config))
        for path, value in self.model.items():
            *parents, name = path.split('.')
            part = config
            for parent in parents:
                part = part[int(parent) if parent.isdigit() else parent]
            part[name] = value
        narrow_box_heads(config)
        return config

    def build(self, scope: str) -> nn.Module:
        """Build the network; the scope is that of its library."""
        config = self.network(scope)
        with DefaultScope.overwrite_default_scope(scope), narrow_fully_connected():
            return MODELS.build(config._cfg_dict)


_packaged = functools.cache(packaged_config)


def narrow_box_heads(config: Any) -> None:
    """Give the fully connected layers of all box heads 64 channels: with 1024, most of the weights.

    A second layer and the scores read these channels, and no other part does.
    """
    parts = list(config.values() if isinstance(config, dict) else config)
    if isinstance(config, dict) and config.get('fc_out_channels') == 1024:
        config['fc_out_channels'] = 64
    for part in parts:
        if isinstance(part, (dict, list, tuple)):
            narrow_box_heads(part)


@contextmanager
def narrow_fully_connected() -> Iterator[None]:
    """Give the fully connected layers of AlexNet and VGG 64 channels: with 4096, most of the weights."""

    def linear(*channels: int) -> nn.Linear:
        return nn.Linear(*(64 if number == 4096 else number for number in channels))

    narrow = SimpleNamespace(**{**vars(nn), 'Linear': linear})
    with (
        mock.patch('mmpretrain.models.backbones.alexnet.nn', narrow),
        mock.patch('mmpretrain.models.backbones.vgg.nn', narrow),
    ):
        yield


@contextmanager
def without_weights() -> Iterator[None]:
    """Leave at zero the weights that layers draw when they are built."""
    zero = functools.partial(nn.init.constant_, val=0.0)
    with (
        mock.patch('torch.nn.init.kaiming_uniform_', lambda tensor, *_, **__: zero(tensor)),
        mock.patch('torch.nn.init.uniform_', lambda tensor, *_, **__: zero(tensor)),
    ):
        yield


def initialized(model: nn.Module) -> nn.Module:
    """Give a model the weights that a training starts with, but for those of a file."""
    for module in model.modules():
        if 'Pretrained' in str(getattr(module, 'init_cfg', None)):
            module.init_cfg = None
    model.init_weights()
    return model


def with_other_weights(model: nn.Module, seed: int) -> nn.Module:
    """Give a model weights as training may leave them: of other scales, some nearly zero."""
    generator = torch.Generator().manual_seed(seed)
    # A prime number of values, repeated: drawing each weight takes as long as all else.
    values = torch.randn(100_003, generator=generator)

    def scale() -> float:
        return (1e-6, 0.03, 1.0, 5.0)[int(torch.randint(4, (), generator=generator))]

    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point():
                scaled = values * scale()
                for part in parameter.view(-1).split(len(values)):
                    part.copy_(scaled[: len(part)])
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


def parameters_so_far(proposal: TapProposal) -> list[int]:
    """Return the parameters up to the end of each proposed module, the last one included."""
    used = {module.path: module.params_so_far for module in proposal.tappable}
    return [used[path] for path in (*proposal.modules, proposal.last)]
