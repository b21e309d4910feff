"""Comparison of training steps in time and arithmetic, for the tools in ``tools/benchmark``."""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence

import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from torch.utils.flop_counter import FlopCounterMode

from mmmuse.command_line.report import hardware, print_table, write_json
from mmmuse.errors import InputError
from mmmuse.export.latency import interleaved_seconds
from mmmuse.optim import BFloat16OptimWrapper

from .device import add_device_flag, synchronize


def add_step_flags(parser: argparse.ArgumentParser, config: str, batch_size: int) -> None:
    """Add the flags of a comparison of training steps, with the given defaults."""
    parser.add_argument('--config', default=config)
    add_timing_flags(parser, batch_size)
    parser.add_argument('--amp', action='store_true', help='bfloat16')
    parser.add_argument('--channels-last', action='store_true')


def add_timing_flags(parser: argparse.ArgumentParser, batch_size: int) -> None:
    """Add the flags of a comparison whose steps have settings of their own."""
    add_device_flag(parser)
    parser.add_argument('--batch-size', type=int, default=batch_size)
    parser.add_argument('--steps', type=int, default=10)
    parser.add_argument('--warmup', type=int, default=2)
    parser.add_argument(
        '--cpu-time',
        action='store_true',
        help='CPU time of all threads in place of elapsed time, for a machine with other work',
    )
    parser.add_argument('--json', help='file for the figures')


def training_step(
    model: BaseModel, batch: dict, lr: float, args: argparse.Namespace, compiled: bool = False
) -> Callable[[], None]:
    """Return a function that runs one step of SGD and waits for the device.

    Args:
        model: Any model of an OpenMMLab library.
        batch: As a data loader gives it.
        lr: Learning rate.
        args: Of :func:`add_step_flags`.
        compiled: Whether the step is compiled, as by MMEngine's ``compile=True``.
    """
    model = model.to(args.device).train()
    if args.channels_last:
        model = model.to(memory_format=torch.channels_last)
    wrapper = BFloat16OptimWrapper if args.amp else OptimWrapper
    wrapper = wrapper(torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9))

    train_step = torch.compile(model.train_step) if compiled else model.train_step

    def step() -> None:
        train_step(batch, wrapper)
        synchronize(args.device)

    return step


def compare_steps(
    title: str,
    steps: Mapping[str, Callable[[], None]],
    args: argparse.Namespace,
    memory: Mapping[str, float] | None = None,
) -> None:
    """Measure steps and print them with their ratio to the first one, the plain network.

    Args:
        title: Of the table; the number of steps and the hardware are added.
        steps: By name.
        args: Of :func:`add_step_flags`.
        memory: Peak MiB of each; empty or None if not measured.
    """
    flops = {}
    for name, step in steps.items():
        with FlopCounterMode(display=False) as counter:
            step()
        flops[name] = counter.get_total_flops()
    seconds = interleaved_step_seconds(steps, args)
    columns = [
        (
            'CPU ms / step' if args.cpu_time else 'ms / step',
            {name: 1e3 * value for name, value in seconds.items()},
            '.1f',
        ),
        ('GFLOP', {name: value / 1e9 for name, value in flops.items()}, '.1f'),
        *([('peak MiB', memory, '.0f')] if memory else []),
    ]
    print_table(
        f'{title}, median of {args.steps} interleaved steps; {hardware(args.device)}',
        ['variant', *(header for column in columns for header in (column[0], 'x plain'))],
        [[name, *_cells(name, columns, plain=next(iter(steps)))] for name in steps],
    )
    figures = dict(seconds=seconds, flops=flops)
    if memory is not None:
        figures['peak_mib'] = memory
    write_json(args.json, figures, args.device)


def interleaved_step_seconds(
    steps: Mapping[str, Callable[[], None]], args: argparse.Namespace
) -> dict[str, float]:
    """Return the median seconds of each step, run in turn.

    Args:
        steps: By name.
        args: Of :func:`add_step_flags`.

    Raises:
        InputError: If the CPU time of a GPU's steps is asked for.
    """
    if args.cpu_time and args.device != 'cpu':
        raise InputError(f'--cpu-time is for --device cpu, got {args.device}')
    clock = time.process_time if args.cpu_time else time.perf_counter
    return interleaved_seconds(steps, args.steps, args.warmup, clock=clock)


def _cells(name: str, columns: Sequence[tuple[str, Mapping, str]], plain: str) -> list[str]:
    """Return each figure of a variant, and its ratio to that of the plain network."""
    return [
        cell
        for _, values, form in columns
        for cell in (f'{values[name]:{form}}', f'{values[name] / values[plain]:.2f}')
    ]
