"""Images per second of the batched data path against mmpretrain's per-sample pipeline.

Both read the same training images with the same number of workers: DataLoader, collation and the
model's data_preprocessor in training mode, up to the finished tensor on the device. Repeats are
interleaved in one process and the median is taken.
"""

import argparse
import itertools
import statistics
import time

import torch
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from mmmuse.checkpoints.config_file import read_config
from mmmuse.checkpoints.mmengine_loading import refuse_code_in_files
from mmmuse.command_line.device import add_device_flag, check_device, synchronize
from mmmuse.command_line.explain import explained
from mmmuse.command_line.report import check_json, hardware, print_table, write_json
from mmmuse.command_line.step_variants import prepare
from mmmuse.datasets.load_checked_image import check_loaded_images
from mmmuse.errors import InputError
from mmmuse.registry import MODELS

BATCHED, PER_SAMPLE = 'batched', 'per sample'


class DataPath:
    """A config's training DataLoader and data_preprocessor."""

    def __init__(self, config_file: str, args: argparse.Namespace) -> None:
        config = read_config(config_file)
        self.loader_config = config.train_dataloader
        self.configured_workers = self.loader_config.num_workers
        self.loader_config.batch_size = args.batch_size
        self.loader_config.pin_memory = args.device.startswith('cuda')
        self.loader_config.persistent_workers = (
            False  # The workers of one path must not run while the other is timed.
        )
        self.loader_config.dataset.download = False
        if args.data_root is not None:
            self.loader_config.dataset.data_root = args.data_root
        self.loader_config.dataset = Runner.build_dataloader(self.loader_config, seed=0).dataset
        preprocessor = {'type': 'mmpretrain.ClsDataPreprocessor', **config.data_preprocessor}
        self.preprocessor: nn.Module = MODELS.build(preprocessor).to(args.device)

    def loader(self, num_workers: int) -> DataLoader:
        return Runner.build_dataloader({**self.loader_config, 'num_workers': num_workers}, seed=0)

    def images_per_second(self, num_workers: int, args: argparse.Namespace) -> float:
        batches = iter(self.loader(num_workers))
        images = 0
        for batch in itertools.islice(batches, args.warmup):
            self.preprocessor(batch, training=True)
        synchronize(args.device)
        start = time.perf_counter()
        for batch in itertools.islice(batches, args.batches):
            images += len(self.preprocessor(batch, training=True)['inputs'])
        synchronize(args.device)
        return images / (time.perf_counter() - start)


def measure(paths: dict[str, DataPath], args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Return the median images per second, by number of workers and path."""
    rates: dict[str, dict[str, float]] = {}
    for workers in args.workers:
        repeats = [
            {name: path.images_per_second(workers, args) for name, path in paths.items()}
            for _ in range(args.repeats)
        ]
        rates[str(workers)] = {name: statistics.median(r[name] for r in repeats) for name in paths}
    return rates


def table(rates: dict[str, dict[str, float]], paths: dict[str, DataPath]) -> list[list[str]]:
    """Return a row for each number of workers, and one for each path as its config has it."""
    configured = {name: str(path.configured_workers) for name, path in paths.items()}
    if set(configured.values()) <= set(rates):
        title = f'{configured[BATCHED]} / {configured[PER_SAMPLE]}, as configured'
        rates = {**rates, title: {name: rates[n][name] for name, n in configured.items()}}
    return [
        [
            workers,
            f'{rate[BATCHED]:,.0f}',
            f'{rate[PER_SAMPLE]:,.0f}',
            f'{rate[BATCHED] / rate[PER_SAMPLE]:.1f}',
        ]
        for workers, rate in rates.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--batched', default='configs/_base_/datasets/cifar100.py')
    parser.add_argument('--per-sample', default='configs/_base_/datasets/cifar100_per_sample.py')
    parser.add_argument('--data-root', help="in place of the configs' data_root")
    add_device_flag(parser)
    parser.add_argument('--batch-size', type=int, default=128)
    parser.add_argument('--threads', type=int, default=1, help='of the main process')
    parser.add_argument('--workers', type=int, nargs='+', default=[0, 2])
    parser.add_argument('--batches', type=int, default=100, help='timed in each repeat')
    parser.add_argument('--warmup', type=int, default=20, help='batches before them')
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--json', help='file for the figures')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with explained():
        refuse_code_in_files()
        check_loaded_images()
        check_device(args.device)
        check_json(args.json)
        prepare()
        paths = {BATCHED: DataPath(args.batched, args), PER_SAMPLE: DataPath(args.per_sample, args)}
        epoch = len(paths[BATCHED].loader(0))
        if args.warmup + args.batches > epoch:
            raise InputError(f'an epoch has {epoch} batches, fewer than --warmup + --batches')
        rates = measure(paths, args)
        print_table(
            f'CIFAR-100 training images per second, batch {args.batch_size}, median of '
            f'{args.repeats} interleaved repeats of {args.batches} batches; '
            f'{hardware(args.device)}',
            ['workers', BATCHED, PER_SAMPLE, 'ratio'],
            table(rates, paths),
        )
        write_json(args.json, dict(images_per_second=rates), args.device)


if __name__ == '__main__':
    main()
