"""Training steps whose process keeps freed memory, against steps whose process returns it."""

import argparse
import multiprocessing
from collections.abc import Sequence
from contextlib import ExitStack
from multiprocessing.connection import Connection
from statistics import median
from typing import NamedTuple

import torch

from mmmuse.environment.freed_memory import keep_freed_memory
from mmmuse.errors import InputError

from .step_variants import PLAIN, build_variant, prepare, variant_step


class StepCost(NamedTuple):
    """What a training step costs a process.

    Attributes:
        seconds: CPU time of all threads, of the user and of the system.
        faults: Page faults that the kernel served without reading a disk.
    """

    seconds: float
    faults: int


class Measured(NamedTuple):
    """The figures of a variant.

    Attributes:
        steps: Cost of each measured step.
        peak_mib: Growth of the resident set, from the imports to its largest size.
    """

    steps: list[StepCost]
    peak_mib: float

    @property
    def seconds(self) -> float:
        """CPU seconds, the median over the steps."""
        return median(step.seconds for step in self.steps)

    @property
    def faults(self) -> float:
        """Page faults, the median over the steps."""
        return median(step.faults for step in self.steps)


def measure_memory_modes(
    variants: Sequence[str], args: argparse.Namespace
) -> dict[tuple[str, bool], Measured]:
    """Run steps of all variants in turn, each with freed memory kept and returned.

    Every combination has a process of its own; one of them works at a time.

    Args:
        variants: Names of :data:`mmmuse.command_line.step_variants.VARIANTS`.
        args: Of :func:`mmmuse.command_line.step_benchmark.add_step_flags`.

    Returns:
        By variant and whether the memory is kept.

    Raises:
        InputError: If a process cannot measure.
    """
    torch.set_num_threads(1)  # A process with a pool of threads should not fork.
    prepare()
    build_variant(PLAIN, args.config)  # Imports the parts that it names.
    combinations = [(name, kept) for name in variants for kept in (False, True)]
    if 'fork' not in multiprocessing.get_all_start_methods():
        raise InputError('freed memory can be compared on Linux only')
    # Forked: the imports are done once, and malloc is set in the new process only.
    context = multiprocessing.get_context('fork')
    with ExitStack() as stack:
        pipes: dict[tuple[str, bool], Connection] = {}
        for name, kept in combinations:
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, name, kept, args), daemon=True)
            process.start()
            theirs.close()
            stack.callback(process.join, 10)
            pipes[name, kept] = stack.enter_context(ours)
            _answer(pipes[name, kept])
        steps: dict[tuple[str, bool], list[StepCost]] = {key: [] for key in combinations}
        for turn in range(args.warmup + args.steps):
            for key, pipe in pipes.items():
                pipe.send(True)
                cost = _answer(pipe)
                if turn >= args.warmup:
                    steps[key].append(cost)
        measured = {}
        for key, pipe in pipes.items():
            pipe.send(False)
            measured[key] = Measured(steps[key], _answer(pipe))
    torch.set_num_threads(args.threads)
    return measured


def _answer(pipe: Connection):
    try:
        answer = pipe.recv()
    except EOFError as error:
        raise InputError('a process of the benchmark has ended; its error is above') from error
    if isinstance(answer, str):
        raise InputError(answer)
    return answer


def _serve(pipe: Connection, name: str, kept: bool, args: argparse.Namespace) -> None:
    """Run a step for each True that is received; at the end send the growth of memory in MiB."""
    import resource  # Not on Windows.

    torch.set_num_threads(args.threads)
    if kept and not keep_freed_memory():
        pipe.send(
            'freed memory cannot be kept here: malloc is not that of glibc, or is set already'
        )
        return
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step = variant_step(name, args)
    pipe.send(True)
    while pipe.recv():
        start = resource.getrusage(resource.RUSAGE_SELF)
        step()
        end = resource.getrusage(resource.RUSAGE_SELF)
        cpu = end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime
        pipe.send(StepCost(cpu, end.ru_minflt - start.ru_minflt))
    pipe.send((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10)
