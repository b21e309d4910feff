"""Time, arithmetic and memory of one training step: plain network against its distilled variants.

Steps of all variants are interleaved in one process and the median is taken. Arithmetic is that
of matrix products and convolutions, forward and backward, two operations per multiply-add: if the
ratio of time is below that of arithmetic, the added work is nearer to the machine's peak than the
network. Memory is the peak of each variant: allocated bytes on a GPU, growth of the resident set of
a new process on a CPU. The critics are those of the config, unless the name of a variant says
otherwise. On a CPU freed memory is kept, as in training (``freed_memory.py``).
"""

import argparse
import multiprocessing

import torch

from mmmuse.checkpoints.mmengine_loading import refuse_code_in_files
from mmmuse.command_line.device import check_device
from mmmuse.command_line.explain import explained
from mmmuse.command_line.report import check_json
from mmmuse.command_line.step_benchmark import add_step_flags, compare_steps
from mmmuse.command_line.step_variants import (
    PLAIN,
    VARIANTS,
    build_variant,
    prepare,
    variant_step,
)
from mmmuse.environment.freed_memory import keep_freed_memory


def peak_memory(name: str, args: argparse.Namespace) -> float:
    """Return the peak of three steps in MiB; on a CPU, called in a separate process."""
    if args.device.startswith('cuda'):
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated(args.device)
        step = variant_step(name, args)
        torch.cuda.reset_peak_memory_stats(args.device)
        for _ in range(3):
            step()
        return (torch.cuda.max_memory_allocated(args.device) - before) / 2**20
    import resource  # Not on Windows.

    keep_freed_memory()
    prepare()
    build_variant(PLAIN, args.config)  # Imports and thread pools are not counted.
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    step = variant_step(name, args)
    for _ in range(3):
        step()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10


def measure_memory(names: list[str], args: argparse.Namespace) -> dict[str, float]:
    if args.device.startswith('cuda'):
        return {name: peak_memory(name, args) for name in names}
    memory = {}
    for name in names:
        with multiprocessing.get_context('spawn').Pool(1) as pool:
            memory[name] = pool.apply(peak_memory, (name, args))
    return memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_step_flags(parser, 'configs/muse/resnet18_cifar100_mi_x_si.py', batch_size=64)
    parser.add_argument('--skip', nargs='*', default=[], choices=list(VARIANTS))
    parser.add_argument('--no-memory', action='store_true', help='do not measure memory')
    args = parser.parse_args()
    with explained():
        refuse_code_in_files()
        check_device(args.device)
        check_json(args.json)
        prepare()
        names = [name for name in VARIANTS if name not in args.skip or name == PLAIN]
        memory = {} if args.no_memory else measure_memory(names, args)
        if args.device == 'cpu':
            keep_freed_memory()
        steps = {name: variant_step(name, args) for name in names}
        compare_steps(f'ResNet-18, 32x32, batch {args.batch_size}', steps, args, memory)


if __name__ == '__main__':
    main()
