"""The command ``mmmuse early-exit``."""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from mmengine.config import Config
from torch import Tensor

from mmmuse.analysis.classifier_early_exit import ClassifierExits
from mmmuse.analysis.early_exit import (
    cumulative_costs,
    gain_over_fixed_exits,
    thresholds_for_cost,
)
from mmmuse.analysis.early_exit_table import accuracy_label, early_exit_panels
from mmmuse.analysis.exit_figure import draw_accuracy, write_csv
from mmmuse.checkpoints.mmengine_loading import refuse_code_in_files
from mmmuse.command_line.config import check_at_least, load_config
from mmmuse.command_line.explain import explained
from mmmuse.command_line.input_shape import naming_input_shape
from mmmuse.command_line.progress import shown, tracker
from mmmuse.command_line.report import check_new_path, new_folder, print_table, threads
from mmmuse.datasets.load_checked_image import check_loaded_images
from mmmuse.errors import InputError
from mmmuse.export.exit_network import check_exit, exits_of, num_exits
from mmmuse.export.exit_table import exit_costs
from mmmuse.export.latency import latencies
from mmmuse.export.trained import trains_segmenter

from .early_checks import check_named_in_config

if TYPE_CHECKING:
    from mmmuse.analysis.segmenter_early_exit import SegmenterExits

    Exits = ClassifierExits | SegmenterExits

GAINS = ('gain_at_macs', 'gain_at_latency')


def in_batches(run: Callable[[Tensor], object], size: int) -> Callable[[Tensor], None]:
    """Return a function that calls ``run`` on batches of ``size`` images."""

    def run_all(images: Tensor) -> None:
        for batch in images.split(size):
            run(batch)

    return run_all


def row(
    key: str, network: str, accuracy: float, macs: float, milliseconds: float, **early: object
) -> dict:
    """Return a row of the table; the columns for early exit are empty by default."""
    return {
        'network': network,
        key: round(float(accuracy), 4),
        'macs': round(macs),
        'milliseconds': round(milliseconds, 4),
        **dict.fromkeys((*GAINS, 'thresholds', 'shares'), ''),
        **early,
    }


def rounded_gain(cost: float, accuracy: float, costs: list, accuracies: list) -> float | str:
    gain = gain_over_fixed_exits(cost, accuracy, costs, accuracies)
    return '' if gain is None else round(gain, 4)


def measure(args: argparse.Namespace) -> None:
    config = load_config(args.config, args.cfg_options)
    check_named_in_config('early-exit', args, config)
    with shown('building the network'):
        exits = read_exits(config, args)
    distiller = exits.distiller
    for number in args.exits or exits_of(distiller):
        check_exit(distiller, number)
        if number == num_exits(distiller):
            raise InputError(f'exit {number} is the full network, which has no threshold')
    shape = tuple(args.input_shape or exits.image_shape())
    with shown('counting multiply-adds'):
        costs = exit_costs(exits.model, distiller, shape)
    enabled = [cost.number in args.exits if args.exits else True for cost in costs[:-1]]
    cumulative = cumulative_costs(
        [*(cost.trunk_macs for cost in costs[:-1]), costs[-1].real.flops],
        [cost.real.flops - cost.trunk_macs for cost in costs[:-1]],
        enabled,
    )
    full = costs[-1].real.flops
    first = cumulative[enabled.index(True)] / full
    wanted = args.costs or np.linspace(first, cumulative[-1] / full, 11)[1:-1].tolist()
    exits.run(tracker('evaluating the exits'))
    thresholds = [
        thresholds_for_cost(exits.confidence, cumulative, enabled, share * full) for share in wanted
    ]
    accuracy, points = exits.measure(cumulative, thresholds, tracker('evaluating the thresholds'))
    timed = time_all(exits, costs, points, exits.images(args.latency_images), args.batch_size)
    rows = rows_of(exits, costs, accuracy, points, timed)
    with new_folder(args.out) as folder:
        write_csv(folder / 'early_exit.csv', rows)
        draw(rows, folder / 'early_exit.png')
    show(args, exits, rows)


def read_exits(config: Config, args: argparse.Namespace) -> 'Exits':
    """Return the trained exits of a classifier or a segmenter."""
    kind: type[Exits] = ClassifierExits
    if trains_segmenter(config):
        from mmmuse.analysis.segmenter_early_exit import SegmenterExits

        kind = SegmenterExits
    return kind(config, args.checkpoint, args.data, args.trust_checkpoint)


def rows_of(exits: 'Exits', costs: list, accuracy: list, points: list, timed: dict) -> list[dict]:
    """Return the rows of the table: each exit as a network of its own, then choices of thresholds."""
    key = exits.accuracy[0]
    macs = [cost.real.flops for cost in costs]
    names = [f'exit {cost.number}' for cost in costs]
    times = [timed[name] for name in names]
    rows = [row(key, *figures) for figures in zip(names, accuracy, macs, times, strict=True)]
    for i, point in enumerate(points):
        time = timed[f'early {i}']
        rows.append(
            row(
                key,
                'early exit',
                point.accuracy,
                point.cost,
                time,
                gain_at_macs=rounded_gain(point.cost, point.accuracy, macs, accuracy),
                gain_at_latency=rounded_gain(time, point.accuracy, times, accuracy),
                thresholds=' '.join(map(repr, point.thresholds)),
                shares=' '.join(f'{share:.3f}' for share in point.shares),
            )
        )
    return rows


def time_all(exits: 'Exits', costs: list, points: list, images: Tensor, size: int) -> dict:
    """Return milliseconds per image of every exit's network and of every choice of thresholds."""
    early = exits.early_exit()
    functions = {
        f'exit {cost.number}': in_batches(exits.alone(cost.network), size) for cost in costs
    }
    functions |= {
        f'early {i}': in_batches(partial(early, point.thresholds), size)
        for i, point in enumerate(points)
    }
    timed = latencies(functions, images, repeats=3, warmup=1, track=tracker('timing'))
    return {name: time / len(images) for name, time in timed.items()}


def draw(rows: list[dict], path: Path) -> None:
    draw_accuracy(
        early_exit_panels(rows),
        path,
        'Early exit, and each exit as a network of its own',
        metric=accuracy_label(rows),
    )


def show(args: argparse.Namespace, exits: 'Exits', rows: list[dict]) -> None:
    key, title = exits.accuracy
    print_table(
        f'{exits.num_images} images, thresholds chosen on as many other images; latency in batches of {args.batch_size}, '
        f'{threads()}; gain over the line between fixed exits; shares are of the {exits.counted}',
        ['network', title, 'MACs M', 'ms', 'gain at MACs', 'at ms', 'shares of the exits'],
        [
            [
                row['network'],
                f'{row[key]:.2f}',
                f'{row["macs"] / 1e6:.1f}',
                f'{row["milliseconds"]:.3f}',
                *('' if row[gain] == '' else f'{row[gain]:+.2f}' for gain in GAINS),
                row['shares'],
            ]
            for row in rows
        ],
    )
    print('Thresholds for --cfg-options, of each average of multiply-adds:')
    for row in rows:
        if row['thresholds']:
            print(
                f'  {row["macs"] / 1e6:.1f} M: model.type={exits.kind} '
                f'"model.thresholds=[{row["thresholds"].replace(" ", ",")}]"'
            )
    print(f'written to {args.out}: early_exit.csv, early_exit.png')


def main(args: argparse.Namespace) -> None:
    with explained(), naming_input_shape(args.input_shape):
        refuse_code_in_files(args.trust_checkpoint)
        check_loaded_images()
        check_new_path(args.out)
        check_at_least(args, latency_images=1, batch_size=1)
        measure(args)
