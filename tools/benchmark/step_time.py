"""Time, arithmetic and memory of one training step: plain network against its distilled variants.

Steps of all variants are interleaved in one process and the median is taken. Arithmetic is that
of matrix products and convolutions, forward and backward, two operations per multiply-add: if the
ratio of time is below that of arithmetic, the added work is nearer to the machine's peak than the
network. Memory is the peak of each variant: allocated bytes on a GPU, growth of the resident set of
a new process on a CPU.
"""

import argparse
import multiprocessing
import resource
from collections.abc import Callable

import torch
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from mmmuse.checkpoints.config_file import read_config
from mmmuse.checkpoints.mmengine_loading import refuse_code_in_files
from mmmuse.command_line.explain import explained
from mmmuse.command_line.report import check_json
from mmmuse.command_line.step_benchmark import add_step_flags, compare_steps, training_step
from mmmuse.functional import jsd_critic_loss, scale_gradient
from mmmuse.registry import MODELS

PLAIN = 'plain network'
VARIANTS: dict[str, dict | None] = {
    PLAIN: None,
    'exits only (CE + KD)': dict(discrepancy=None),
    'MI x SI critics, 64 locations': dict(ce_weight=0.0, kd_weight=0.0, locations=64),
    'MI x SI critics, every location': dict(ce_weight=0.0, kd_weight=0.0, locations=None),
    'MI x SI critics, textbook': dict(ce_weight=0.0, kd_weight=0.0, locations=None, textbook=True),
    'full MI x SI: exits + 64 locations': dict(locations=64),
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
        local, vector = (scale_gradient(side, gradient_scale) for side in (local, vector))

        def score(maps: Tensor) -> Tensor:
            spread = vector[..., None, None].expand(-1, -1, *maps.shape[-2:])
            return self.net(torch.cat([maps, spread], 1))

        return jsd_critic_loss(score(local), score(local.roll(1, 0)))


def build(variant: dict | None, args: argparse.Namespace) -> BaseModel:
    config = read_config(args.config)
    student = {**config.model.student, 'data_preprocessor': config.data_preprocessor}
    torch.manual_seed(0)
    if variant is None:
        model = MODELS.build(student)
    else:
        variant = dict(variant)
        locations, textbook = variant.pop('locations', 64), variant.pop('textbook', False)
        head = {**config.model.head, **variant}
        if head['discrepancy']:
            head['discrepancy'] = {**head['discrepancy'], 'critic': dict(num_locations=locations)}
        model = MODELS.build({**config.model, 'student': student, 'head': head})
        if textbook:
            loss = model.muse.discrepancies[0]
            channels = [spec.channels for spec in loss.local_specs]
            last = loss.target_specs[0].channels
            loss.mi_critics = nn.ModuleList(TextbookCritic(c, last) for c in channels)
            loss.si_critics = nn.ModuleList(TextbookCritic(c, c) for c in channels)
    return model


def stepper(variant: dict | None, args: argparse.Namespace) -> Callable[[], None]:
    batch = dict(
        inputs=torch.randint(0, 256, (args.batch_size, 3, 32, 32), dtype=torch.uint8),
        gt_label=torch.randint(0, 100, (args.batch_size,)),
        sample_idx=torch.arange(args.batch_size),
        num_samples=args.batch_size,
    )
    return training_step(build(variant, args), batch, lr=1e-3, args=args)


def peak_memory(variant: dict | None, args: argparse.Namespace) -> float:
    """Return the peak of three steps in MiB; on a CPU, called in a separate process."""
    if args.device.startswith('cuda'):
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated()
        step = stepper(variant, args)
        torch.cuda.reset_peak_memory_stats()
        for _ in range(3):
            step()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    prepare()
    build(None, args).to(args.device)  # Imports and thread pools are not counted.
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step = stepper(variant, args)
    for _ in range(3):
        step()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10


def measure_memory(names: list[str], args: argparse.Namespace) -> dict[str, float]:
    if args.device.startswith('cuda'):
        return {name: peak_memory(VARIANTS[name], args) for name in names}
    memory = {}
    for name in names:
        with multiprocessing.get_context('spawn').Pool(1) as pool:
            memory[name] = pool.apply(peak_memory, (VARIANTS[name], args))
    return memory


def prepare() -> None:
    init_default_scope('mmpretrain')
    MMLogger.get_instance('benchmark', log_level='ERROR')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_step_flags(parser, 'configs/muse/resnet18_cifar100_mi_x_si.py', batch_size=64)
    parser.add_argument('--skip', nargs='*', default=[], choices=list(VARIANTS))
    parser.add_argument('--no-memory', action='store_true', help='do not measure memory')
    args = parser.parse_args()
    with explained():
        refuse_code_in_files()
        check_json(args.json)
        prepare()
        names = [name for name in VARIANTS if name not in args.skip or name == PLAIN]
        memory = {} if args.no_memory else measure_memory(names, args)
        steps = {name: stepper(VARIANTS[name], args) for name in names}
        compare_steps(f'ResNet-18, 32x32, batch {args.batch_size}', steps, args, memory)


if __name__ == '__main__':
    main()
