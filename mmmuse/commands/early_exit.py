"""The command ``mmmuse early-exit``."""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor

from mmmuse.analysis.early_exit import (
    cumulative_costs,
    evaluate_thresholds,
    gain_over_fixed_exits,
    thresholds_for_cost,
)
from mmmuse.analysis.early_exit_table import early_exit_panels
from mmmuse.analysis.exit_figure import draw_accuracy, write_csv
from mmmuse.analysis.exit_record import record_exits
from mmmuse.checkpoints.mmengine_loading import refuse_code_in_files
from mmmuse.command_line.config import check_at_least, load_config
from mmmuse.command_line.explain import explained
from mmmuse.command_line.progress import shown, tracker
from mmmuse.command_line.report import check_new_path, new_folder, print_table
from mmmuse.datasets.load_checked_image import check_loaded_images
from mmmuse.distillers import EarlyExitClassifier, SelfDistiller
from mmmuse.errors import InputError
from mmmuse.export.data import first_images, image_shape, normalized_batches
from mmmuse.export.exit_network import check_exit, num_exits
from mmmuse.export.exit_table import exit_costs
from mmmuse.export.latency import latencies
from mmmuse.export.trained import load_trained, model_config
from mmmuse.registry import MODELS

from .early_checks import check_named_in_config

GAINS = ('gain_at_macs', 'gain_at_latency')


def early_exit_classifier(config: Config, distiller: SelfDistiller) -> EarlyExitClassifier:
    """Return the same network, weights included, as an ``EarlyExitClassifier``."""
    thresholds = [None] * len(distiller.tap_paths.shallow)
    model = {**model_config(config), 'type': 'mmmuse.EarlyExitClassifier'}
    classifier = MODELS.build({**model, 'thresholds': thresholds})
    classifier.load_state_dict(distiller.state_dict())
    return classifier.eval()


def in_batches(run: Callable[[Tensor], object], size: int) -> Callable[[Tensor], None]:
    """Return a function that calls ``run`` on batches of ``size`` images."""

    def run_all(images: Tensor) -> None:
        for batch in images.split(size):
            run(batch)

    return run_all


def row(network: str, top1: float, macs: float, milliseconds: float, **early: object) -> dict:
    """Return a row of the table; the columns for early exit are empty by default."""
    return {
        'network': network,
        'top1': round(float(top1), 4),
        'macs': round(macs),
        'milliseconds': round(milliseconds, 4),
        **dict.fromkeys((*GAINS, 'thresholds', 'shares'), ''),
        **early,
    }


def rounded_gain(cost: float, accuracy: float, costs: list, accuracies: np.ndarray) -> float | str:
    gain = gain_over_fixed_exits(cost, accuracy, costs, accuracies)
    return '' if gain is None else round(gain, 4)


def measure(args: argparse.Namespace) -> None:
    config = load_config(args.config, args.cfg_options)
    check_named_in_config('early-exit', args, config)
    with shown('building the network'):
        distiller = load_trained(config, args.checkpoint, args.trust_checkpoint)
    for number in args.exits or [1]:
        check_exit(distiller, number)
        if number == num_exits(distiller):
            raise InputError(f'exit {number} is the full network, which has no threshold')
    shape = tuple(args.input_shape or image_shape(config))
    with shown('counting multiply-adds'):
        costs = exit_costs(config.model, distiller, shape)
    enabled = [cost.number in args.exits if args.exits else True for cost in costs[:-1]]
    cumulative = cumulative_costs(
        [*(cost.trunk_macs for cost in costs[:-1]), costs[-1].real.flops],
        [cost.real.flops - cost.trunk_macs for cost in costs[:-1]],
        enabled,
    )
    full = costs[-1].real.flops
    first = cumulative[enabled.index(True)] / full
    wanted = args.costs or np.linspace(first, cumulative[-1] / full, 11)[1:-1].tolist()

    evaluating = tracker('evaluating the exits')
    record = record_exits(
        distiller, normalized_batches(config, 'test', distiller, args.data, evaluating)
    )
    if len(record.correct) < 2:
        raise InputError('early exit needs at least 2 images: half choose the thresholds')
    chosen_on, measured_on = record.take(slice(0, None, 2)), record.take(slice(1, None, 2))
    points = [
        evaluate_thresholds(
            measured_on,
            cumulative,
            thresholds_for_cost(chosen_on.confidence, cumulative, enabled, share * full),
        )
        for share in wanted
    ]
    batches = normalized_batches(config, 'test', distiller, args.data)
    images = torch.cat(list(first_images(batches, 2 * args.latency_images)))[1::2]
    timed = time_all(
        early_exit_classifier(config, distiller), costs, points, images, args.batch_size
    )

    accuracy = 100 * measured_on.correct.mean(0)
    macs = [cost.real.flops for cost in costs]
    names = [f'exit {cost.number}' for cost in costs]
    times = [timed[name] for name in names]
    rows = [row(*figures) for figures in zip(names, accuracy, macs, times, strict=True)]
    for i, point in enumerate(points):
        time = timed[f'early {i}']
        rows.append(
            row(
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
    with new_folder(args.out) as folder:
        write_csv(folder / 'early_exit.csv', rows)
        draw(rows, folder / 'early_exit.png')
    show(args, rows, len(measured_on.correct))


def time_all(
    classifier: EarlyExitClassifier, costs: list, points: list, images: Tensor, size: int
) -> dict:
    """Return milliseconds per image of every exit's network and of every choice of thresholds."""
    functions = {f'exit {cost.number}': in_batches(cost.network, size) for cost in costs}

    def run_early(thresholds: list, images: Tensor) -> None:
        classifier.set_thresholds(thresholds)
        in_batches(classifier, size)(images)

    functions |= {f'early {i}': partial(run_early, at.thresholds) for i, at in enumerate(points)}
    timed = latencies(functions, images, repeats=3, warmup=1, track=tracker('timing'))
    return {name: time / len(images) for name, time in timed.items()}


def draw(rows: list[dict], path: Path) -> None:
    draw_accuracy(
        early_exit_panels(rows), path, 'Early exit, and each exit as a network of its own'
    )


def show(args: argparse.Namespace, rows: list[dict], num_images: int) -> None:
    print_table(
        f'{num_images} images, thresholds chosen on as many other images; latency in batches of {args.batch_size}, '
        f'{torch.get_num_threads()} threads; gain over the line between fixed exits',
        ['network', 'top-1 %', 'MACs M', 'ms', 'gain at MACs', 'at ms', 'shares of the exits'],
        [
            [
                row['network'],
                f'{row["top1"]:.2f}',
                f'{row["macs"] / 1e6:.1f}',
                f'{row["milliseconds"]:.3f}',
                *('' if row[key] == '' else f'{row[key]:+.2f}' for key in GAINS),
                row['shares'],
            ]
            for row in rows
        ],
    )
    print('Thresholds for --cfg-options, of each average of multiply-adds:')
    for row in rows:
        if row['thresholds']:
            print(
                f'  {row["macs"] / 1e6:.1f} M: model.type=mmmuse.EarlyExitClassifier '
                f'"model.thresholds=[{row["thresholds"].replace(" ", ",")}]"'
            )
    print(f'written to {args.out}: early_exit.csv, early_exit.png')


def main(args: argparse.Namespace) -> None:
    with explained():
        refuse_code_in_files(args.trust_checkpoint)
        check_loaded_images()
        check_new_path(args.out)
        check_at_least(args, latency_images=1, batch_size=1)
        measure(args)
