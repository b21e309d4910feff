"""CPU time, page faults and memory of a training step: freed memory kept, or returned to the system.

``mmmuse train`` keeps it on a CPU (``mmmuse.KeptMemoryHook``). Each variant has two processes, one for
either; the steps of all are interleaved. Time is that of all threads of the process, of the user and
of the system. Memory is the growth of the resident set to its peak, after the imports. The columns
"x plain" compare with the plain network of the same mode.
"""

import argparse

from mmmuse.checkpoints.mmengine_loading import refuse_code_in_files
from mmmuse.command_line.explain import explained
from mmmuse.command_line.memory_benchmark import Measured, measure_memory_modes
from mmmuse.command_line.report import check_json, hardware, print_table, write_json
from mmmuse.command_line.step_benchmark import add_step_flags
from mmmuse.command_line.step_variants import EXITS, FULL, PLAIN, VARIANTS
from mmmuse.errors import InputError

MODES = {False: 'returned', True: 'kept'}


def rows(measured: dict[tuple[str, bool], Measured], names: list[str]) -> list[list[str]]:
    """Return a row for each variant and mode."""
    return [
        [
            name,
            mode,
            f'{1e3 * one.seconds:.0f}',
            f'{one.seconds / measured[PLAIN, kept].seconds:.2f}',
            f'{one.seconds / measured[name, False].seconds:.2f}',
            f'{one.faults:,.0f}',
            f'{one.peak_mib:.0f}',
        ]
        for name in names
        for kept, mode in MODES.items()
        for one in [measured[name, kept]]
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_step_flags(parser, 'configs/muse/resnet18_cifar100_mi_x_si.py', batch_size=64)
    parser.add_argument('--threads', type=int, default=1, help='of each process')
    parser.add_argument('--variants', nargs='+', default=[EXITS, FULL], choices=list(VARIANTS))
    args = parser.parse_args()
    with explained():
        refuse_code_in_files()
        check_json(args.json)
        if args.device != 'cpu':
            raise InputError(f'--device: page faults are those of a CPU, got {args.device}')
        names = [PLAIN, *(name for name in args.variants if name != PLAIN)]
        measured = measure_memory_modes(names, args)
        print_table(
            f'{args.config}, batch {args.batch_size}, median of {args.steps} interleaved steps; '
            f'{hardware()}',
            ['variant', 'memory', 'CPU ms', 'x plain', 'x returned', 'page faults', 'peak MiB'],
            rows(measured, names),
        )
        figures = {
            name: {
                mode: dict(
                    seconds=measured[name, kept].seconds,
                    faults=measured[name, kept].faults,
                    peak_mib=measured[name, kept].peak_mib,
                )
                for kept, mode in MODES.items()
            }
            for name in names
        }
        write_json(args.json, dict(steps=figures))


if __name__ == '__main__':
    main()
