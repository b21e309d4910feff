"""The command ``mmmuse exits``."""

import argparse
from typing import NamedTuple

import torch

from mmmuse.analysis.exit_choice import choose_exit
from mmmuse.analysis.exit_figure import Line, Point, draw_accuracy, write_csv
from mmmuse.analysis.exit_record import record_exits, refuse_multi_label
from mmmuse.checkpoints.mmengine_loading import refuse_code_in_files
from mmmuse.command_line.config import check_at_least, load_config
from mmmuse.command_line.explain import explained
from mmmuse.command_line.input_shape import naming_input_shape
from mmmuse.command_line.progress import shown, tracker
from mmmuse.command_line.report import check_new_path, new_folder, print_table, threads
from mmmuse.datasets.load_checked_image import check_loaded_images
from mmmuse.errors import InputError
from mmmuse.export.data import image_shape, normalized_batches
from mmmuse.export.exit_network import check_exit
from mmmuse.export.exit_table import exit_costs
from mmmuse.export.latency import latencies
from mmmuse.export.trained import load_trained

from .early_checks import check_named_in_config


class Size(NamedTuple):
    """What makes an exit smaller than another one: a column of the table, in words, and its unit."""

    key: str
    name: str
    unit: str
    divisor: float


SIZES = {
    'macs': Size('macs', 'multiply-adds', 'M', 1e6),
    'latency': Size('milliseconds', 'latency', 'ms', 1),
    'params': Size('params', 'parameters', 'M', 1e6),
}


def points_of(rows: list[dict], cost: str, scale: float = 1) -> list[Point]:
    return [Point(row[cost] / scale, row['top1'], row['exit']) for row in rows]


def choose(args: argparse.Namespace) -> None:
    config = load_config(args.config, args.cfg_options)
    check_named_in_config('exits', args, config)
    with shown('building the network'):
        distiller = load_trained(config, args.checkpoint, args.trust_checkpoint)
    check_exit(distiller, 1)
    refuse_multi_label(distiller)
    shape = tuple(args.input_shape or image_shape(config))
    evaluating = tracker('evaluating the exits')
    record = record_exits(
        distiller, normalized_batches(config, 'test', distiller, args.data, evaluating)
    )
    accuracy = 100 * record.correct.mean(0)
    with shown('counting multiply-adds'):
        costs = exit_costs(config.model, distiller, shape)
    timed = latencies(
        {cost.number: cost.network for cost in costs},
        torch.zeros(args.batch_size, *shape),
        track=tracker('timing the exits'),
    )
    rows = [
        dict(
            exit=cost.number,
            module=cost.module,
            top1=round(float(accuracy[cost.number - 1]), 4),
            params=cost.real.params,
            macs=cost.real.flops,
            milliseconds=round(timed[cost.number], 4),
        )
        for cost in costs
    ]
    needed = args.baseline if args.baseline is not None else accuracy[-1] - args.max_loss
    size = SIZES[args.by]
    choice = choose_exit(
        {row['exit']: row['top1'] for row in rows},
        float(needed),
        {row['exit']: row[size.key] for row in rows},
    )
    good = [row for row in rows if row['exit'] in choice.good]
    chosen = next((row for row in rows if row['exit'] == choice.number), None)

    with new_folder(args.out) as folder:
        write_csv(folder / 'exits.csv', rows)
        draw_accuracy(
            {
                'multiply-adds (M)': {'exits': points_of(rows, 'macs', 1e6)},
                'latency (ms)': {'exits': points_of(rows, 'milliseconds')},
            },
            folder / 'exits.png',
            f'Accuracy and cost of every exit on {len(record.correct)} images',
            Line('needed' if args.baseline is None else 'baseline', float(needed)),
            choice.number,
        )
    print_table(
        f'{len(record.correct)} images; latency of batch {args.batch_size}, {threads()}',
        ['exit', 'module', 'top-1 %', 'params M', 'MACs M', 'ms', ''],
        [
            [
                row['exit'],
                row['module'],
                f'{row["top1"]:.2f}',
                f'{row["params"] / 1e6:.3f}',
                f'{row["macs"] / 1e6:.1f}',
                f'{row["milliseconds"]:.2f}',
                'chosen' if row is chosen else '',
            ]
            for row in rows
        ],
    )
    if chosen is None:
        print(f'no exit reaches {needed:.2f} %, the full network included')
    else:
        print(
            f'exit {chosen["exit"]} is the smallest that reaches {needed:.2f} %, by {size.name}: '
            f"{chosen[size.key] / size.divisor:.2f} {size.unit} of the full network's "
            f'{rows[-1][size.key] / size.divisor:.2f} {size.unit}{other_choices(good, args.by)}'
        )
    print(f'written to {args.out}: exits.csv, exits.png')


def other_choices(good: list[dict], by: str) -> str:
    """Return in words which exit would be the smallest by other sizes, if it is another one."""
    numbers = {name: min(good, key=lambda row: row[SIZES[name].key])['exit'] for name in SIZES}
    others = [
        f'exit {number} by {SIZES[name].name} (--by {name})'
        for name, number in numbers.items()
        if number != numbers[by]
    ]
    return f'; {", ".join(others)}' if others else ''


def main(args: argparse.Namespace) -> None:
    with explained(), naming_input_shape(args.input_shape):
        refuse_code_in_files(args.trust_checkpoint)
        check_loaded_images()
        check_new_path(args.out)
        check_at_least(args, batch_size=1, max_loss=0, baseline=0)
        if args.baseline is not None and args.baseline > 100:
            raise InputError(
                f'--baseline is an accuracy in percent, at most 100, got {args.baseline}'
            )
        choose(args)
