"""The training steps that the benchmarks compare: a plain network and its distilled variants."""

import argparse
from collections.abc import Callable

import torch
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from mmmuse.checkpoints.config_file import read_config
from mmmuse.functional import jsd_critic_loss, scale_gradient
from mmmuse.registry import MODELS

from .step_benchmark import training_step

PLAIN = 'plain network'
EXITS = 'exits only (CE + KD)'
CRITICS = 'MI x SI critics'
FULL = 'full MI x SI: exits + critics'
LOCATIONS = (4, 8, 16, 32, 64)  # Of an image; variants of the critics.
_CRITICS_ONLY = dict(ce_weight=0.0, kd_weight=0.0)
# Changes in the config's head; of these, 'critic' is that of the critics, and 'textbook' says which.
VARIANTS: dict[str, dict | None] = {
    PLAIN: None,
    EXITS: dict(discrepancy=None),
    CRITICS: _CRITICS_ONLY,
    **{
        f'{CRITICS}, {number} locations': dict(_CRITICS_ONLY, critic=dict(num_locations=number))
        for number in LOCATIONS
    },
    f'{CRITICS}, every location': dict(_CRITICS_ONLY, critic=dict(num_locations=None)),
    f'{CRITICS}, textbook': dict(_CRITICS_ONLY, critic=dict(num_locations=None), textbook=True),
    FULL: {},
    'full MI x SI: exits + 64 locations': dict(critic=dict(num_locations=64)),
}


class TextbookCritic(nn.Module):
    """The usual implementation of the critic: concatenation, then three 1x1 convolutions, twice."""

    def __init__(self, local_channels: int, global_channels: int, hidden: int = 512) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(local_channels + global_channels, hidden, 1),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 1),
            nn.ReLU(),
            nn.Conv2d(hidden, 1, 1),
        )

    def jsd_loss(self, local: Tensor, vector: Tensor, gradient_scale: float = 1.0) -> Tensor:
        """Return the loss of all locations."""
        local, vector = (scale_gradient(side, gradient_scale) for side in (local, vector))

        def score(maps: Tensor) -> Tensor:
            spread = vector[..., None, None].expand(-1, -1, *maps.shape[-2:])
            return self.net(torch.cat([maps, spread], 1))

        return jsd_critic_loss(score(local), score(local.roll(1, 0)))


def prepare() -> None:
    """Set the scope of mmpretrain and silence MMEngine."""
    init_default_scope('mmpretrain')
    MMLogger.get_instance('benchmark', log_level='ERROR')


def noise_batch(number: int) -> dict:
    """Return images of noise, 32x32, with labels of 100 classes, as a data loader gives them."""
    return dict(
        inputs=torch.randint(0, 256, (number, 3, 32, 32), dtype=torch.uint8),
        gt_label=torch.randint(0, 100, (number,)),
        sample_idx=torch.arange(number),
        num_samples=number,
    )


def build_variant(name: str, config_file: str) -> BaseModel:
    """Return a variant of a self-distilled config, always with the same weights.

    Args:
        name: A key of :data:`VARIANTS`.
        config_file: Path of the config.
    """
    config = read_config(config_file)
    student = {**config.model.student, 'data_preprocessor': config.data_preprocessor}
    torch.manual_seed(0)
    if VARIANTS[name] is None:
        return MODELS.build(student)
    changes = dict(VARIANTS[name])
    critic, textbook = changes.pop('critic', {}), changes.pop('textbook', False)
    head = {**config.model.head, **changes}
    if critic:
        own = head['discrepancy'].get('critic', {})
        head['discrepancy'] = {**head['discrepancy'], 'critic': {**own, **critic}}
    model = MODELS.build({**config.model, 'student': student, 'head': head})
    if textbook:
        loss = model.muse.discrepancies[0]
        channels = [spec.channels for spec in loss.local_specs]
        last = loss.target_specs[0].channels
        loss.mi_critics = nn.ModuleList(TextbookCritic(c, last) for c in channels)
        loss.si_critics = nn.ModuleList(TextbookCritic(c, c) for c in channels)
    return model


def variant_step(name: str, args: argparse.Namespace, compiled: bool = False) -> Callable[[], None]:
    """Return a training step of a variant on images of noise, 32x32.

    Args:
        name: A key of :data:`VARIANTS`.
        args: Of :func:`mmmuse.command_line.step_benchmark.add_step_flags`.
        compiled: Whether the step is compiled.
    """
    batch = noise_batch(args.batch_size)
    model = build_variant(name, args.config)
    return training_step(model, batch, lr=1e-3, args=args, compiled=compiled)
