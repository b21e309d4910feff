"""Time, arithmetic and memory of one training step: plain network against its distilled variants.

Steps of all variants are interleaved in one process and the median is taken. Arithmetic is what
matrix products and convolutions do, forward and backward, two operations per multiply-add: where
the time's ratio is below the arithmetic's, the added work runs nearer to the machine's peak than
the network does. Memory is each variant's own peak: allocated bytes on a GPU, growth of the
resident set of a fresh process on a CPU.
"""

import argparse
import multiprocessing
import resource
from collections.abc import Callable

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mmmuse.command_line.explain import explained
from mmmuse.command_line.report import check_json, hardware, print_table, write_json
from mmmuse.export.latency import interleaved_seconds
from mmmuse.functional import jsd_critic_loss
from mmmuse.optim import BFloat16OptimWrapper
from mmmuse.registry import MODELS

PLAIN = 'plain network'
VARIANTS: dict[str, dict | None] = {
    PLAIN: None,
    'exits alone (CE + KD)': dict(discrepancy=None),
    'MI x SI critics, 64 locations': dict(ce_weight=0.0, kd_weight=0.0, locations=64),
    'MI x SI critics, every location': dict(ce_weight=0.0, kd_weight=0.0, locations=None),
    'MI x SI critics, textbook': dict(ce_weight=0.0, kd_weight=0.0, locations=None, textbook=True),
    'whole MI x SI: exits + 64 locations': dict(locations=64),
}


class TextbookCritic(nn.Module):
    """The critic as it is usually written: concatenate, then three 1x1 convolutions, twice."""

    def __init__(self, local_channels: int, global_channels: int, hidden: int = 512) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(local_channels + global_channels, hidden, 1),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 1),
            nn.ReLU(),
            nn.Conv2d(hidden, 1, 1),
        )

    def jsd_loss(self, local: Tensor, vector: Tensor) -> Tensor:
        def score(maps: Tensor) -> Tensor:
            spread = vector[..., None, None].expand(-1, -1, *maps.shape[-2:])
            return self.net(torch.cat([maps, spread], 1))

        return jsd_critic_loss(score(local), score(local.roll(1, 0)))


def build(variant: dict | None, args: argparse.Namespace) -> nn.Module:
    config = Config.fromfile(args.config)
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
            loss = model.head.discrepancies[0]
            channels = loss.local_channels
            loss.mi_critics = nn.ModuleList(TextbookCritic(c, loss.last_channels) for c in channels)
            loss.si_critics = nn.ModuleList(TextbookCritic(c, c) for c in channels)
    model = model.to(args.device).train()
    return model.to(memory_format=torch.channels_last) if args.channels_last else model


def stepper(variant: dict | None, args: argparse.Namespace) -> Callable[[], None]:
    model = build(variant, args)
    wrapper = BFloat16OptimWrapper if args.amp else OptimWrapper
    wrapper = wrapper(torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9))
    batch = dict(
        inputs=torch.randint(0, 256, (args.batch_size, 3, 32, 32), dtype=torch.uint8),
        gt_label=torch.randint(0, 100, (args.batch_size,)),
        sample_idx=torch.arange(args.batch_size),
        num_samples=args.batch_size,
    )

    def step() -> None:
        model.train_step(batch, wrapper)
        if args.device.startswith('cuda'):
            torch.cuda.synchronize()

    return step


def peak_memory(variant: dict | None, args: argparse.Namespace) -> float:
    """Return the peak of three steps in MiB; on a CPU, called in a process of its own."""
    if args.device.startswith('cuda'):
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated()
        step = stepper(variant, args)
        torch.cuda.reset_peak_memory_stats()
        for _ in range(3):
            step()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    prepare()
    build(None, args)  # Imports and thread pools are not the variant's.
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


def measure_flops(names: list[str], args: argparse.Namespace) -> dict[str, int]:
    flops = {}
    for name in names:
        step = stepper(VARIANTS[name], args)
        with FlopCounterMode(display=False) as counter:
            step()
        flops[name] = counter.get_total_flops()
    return flops


def measure_time(names: list[str], args: argparse.Namespace) -> dict[str, float]:
    steps = {name: stepper(VARIANTS[name], args) for name in names}
    return interleaved_seconds(steps, args.steps, args.warmup)


def prepare() -> None:
    init_default_scope('mmpretrain')
    MMLogger.get_instance('benchmark', log_level='ERROR')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--config', default='configs/muse/resnet18_cifar100_mi_x_si.py')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--batch-size', type=int, default=64)
    parser.add_argument('--steps', type=int, default=10)
    parser.add_argument('--warmup', type=int, default=2)
    parser.add_argument('--amp', action='store_true', help='bfloat16')
    parser.add_argument('--channels-last', action='store_true')
    parser.add_argument('--skip', nargs='*', default=[], choices=list(VARIANTS))
    parser.add_argument('--no-memory', action='store_true', help='measure time alone')
    parser.add_argument('--json', help='file for the figures')
    args = parser.parse_args()
    with explained():
        check_json(args.json)
        prepare()
        names = [name for name in VARIANTS if name not in args.skip or name == PLAIN]
        memory = {} if args.no_memory else measure_memory(names, args)
        flops = measure_flops(names, args)
        seconds = measure_time(names, args)
        print_table(
            f'ResNet-18, 32x32, batch {args.batch_size}, median of {args.steps} interleaved steps; '
            f'{hardware(args.device)}',
            ['variant', 'ms / step', 'x plain', 'GFLOP', 'x plain', 'peak MiB', 'x plain'],
            [
                [
                    name,
                    f'{seconds[name] * 1e3:.1f}',
                    f'{seconds[name] / seconds[PLAIN]:.2f}',
                    f'{flops[name] / 1e9:.0f}',
                    f'{flops[name] / flops[PLAIN]:.2f}',
                    f'{memory[name]:.0f}' if memory else '-',
                    f'{memory[name] / memory[PLAIN]:.2f}' if memory else '-',
                ]
                for name in names
            ],
        )
        figures = dict(seconds=seconds, flops=flops, peak_mib=memory)
        write_json(args.json, figures, args.device)


if __name__ == '__main__':
    main()
