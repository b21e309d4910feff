"""What a training step loses when its critics score fewer locations of each image: variances.

A trained checkpoint of a self-distilled classifier is held fixed. For each batch, the loss of MUSE and the
gradients of the whole loss are computed with every location, and with draws of some of them. Drawing adds noise
to a training step without a bias; the table shows its variance as a percentage of the variance between batches
of images, which every step has.
"""

import argparse
import itertools

import torch
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mmmuse.analysis.location_sampling import (
    SamplingSpread,
    Spread,
    location_sampling_spread,
)
from mmmuse.checkpoints.distiller_file import load_distiller
from mmmuse.checkpoints.mmengine_loading import refuse_code_in_files
from mmmuse.command_line.config import check_at_least, load_config
from mmmuse.command_line.device import add_device_flag, check_device
from mmmuse.command_line.explain import explained
from mmmuse.command_line.report import check_json, hardware, print_table, write_json
from mmmuse.datasets.load_checked_image import check_loaded_images
from mmmuse.distillers import SelfDistiller
from mmmuse.environment.freed_memory import keep_freed_memory
from mmmuse.errors import InputError
from mmmuse.registry import MODELS


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config')
    parser.add_argument('checkpoint', help='of a training with that config')
    parser.add_argument('--locations', type=int, nargs='+', default=[4, 8, 16, 32, 64])
    parser.add_argument('--batches', type=int, default=8)
    parser.add_argument('--draws', type=int, default=4, help='of each batch and number')
    parser.add_argument('--batch-size', type=int, help="in place of the config's")
    add_device_flag(parser)
    parser.add_argument('--json', help='file for the figures')
    return parser.parse_args()


def measure(args: argparse.Namespace) -> SamplingSpread:
    config = load_config(args.config, {})
    init_default_scope(config.get('default_scope', 'mmpretrain'))
    preprocessor = config.get('data_preprocessor')
    model = MODELS.build({'data_preprocessor': preprocessor, **config.model})
    if not isinstance(model, SelfDistiller):
        raise InputError(f'{args.config} has no mmmuse.SelfDistiller')
    load_distiller(model, args.checkpoint)
    loader = config.train_dataloader
    if args.batch_size is not None:
        loader.batch_size = args.batch_size
    batches = Runner.build_dataloader(loader, seed=0)
    if len(batches) < args.batches:
        raise InputError(f'--batches: an epoch has {len(batches)}, got {args.batches}')
    torch.manual_seed(0)
    return location_sampling_spread(
        model.to(args.device), itertools.islice(batches, args.batches), args.locations, args.draws
    )


def percentages(draws: Spread, batches: Spread) -> list[str]:
    return [f'{100 * own / between:.2f}' for own, between in zip(draws, batches, strict=True)]


def main() -> None:
    args = parse_args()
    with explained():
        refuse_code_in_files()
        check_loaded_images()
        check_json(args.json)
        check_device(args.device)
        check_at_least(args, batches=2, draws=1)
        if min(args.locations) < 1:
            raise InputError(f'--locations are at least 1, got {min(args.locations)}')
        MMLogger.get_instance('benchmark', log_level='ERROR')
        if args.device == 'cpu':
            keep_freed_memory()
        spread = measure(args)
        print_table(
            f'{args.config}: variance of {args.draws} draws over that of {args.batches} batches, '
            f'%; {hardware(args.device)}',
            ['locations', 'loss of MUSE', 'gradient of critics', 'gradient of student'],
            [[n, *percentages(of, spread.of_batches)] for n, of in spread.of_draws.items()],
        )
        figures = dict(
            variance_of_batches=spread.of_batches._asdict(),
            variance_of_draws={n: of._asdict() for n, of in spread.of_draws.items()},
        )
        write_json(args.json, figures, args.device)


if __name__ == '__main__':
    main()
