"""What a teacher adds to a student's step, run or stored: ResNet-56 -> ResNet-20 on random images of CIFAR's size.

Steps are interleaved in one process and the median is taken; each one prepares its batch, as a runner's step does.
"Stored" reads the teacher's outputs from a cache (``mmmuse cache-teacher``) of this run's images. Compare a row "teacher"
with the sum of the first two rows: the student's own step and the teacher's forward.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger

from mmmuse.analysis.teacher_outputs import build_offline, cache_index, cache_teacher, loader_of
from mmmuse.checkpoints.mmengine_loading import refuse_code_in_files
from mmmuse.command_line.config import load_config
from mmmuse.command_line.device import check_device, synchronize
from mmmuse.command_line.explain import explained
from mmmuse.command_line.report import check_json
from mmmuse.command_line.step_benchmark import add_timing_flags, compare_steps, training_step
from mmmuse.datasets import BatchedImages
from mmmuse.distillers import OfflineDistiller
from mmmuse.environment.freed_memory import keep_freed_memory
from mmmuse.registry import DATASETS, MODELS

CONFIG = str(
    Path(__file__).resolve().parents[2] / 'configs/offline/resnet56-resnet20_cifar100_kd.py'
)
KD = dict(type='mmmuse.KDLoss', temperature=4)
# By name, the losses of a run.
LOSSES = {
    'logits (KD)': [KD],
    'logits and maps (KD, AT)': [
        KD,
        dict(type='mmmuse.AttentionTransferLoss', modules=[2, 3, 4]),
    ],
}


@DATASETS.register_module(force=True)  # The tests run this file several times.
class FewRandomImages(BatchedImages):
    """Random images of the size and classes of CIFAR-100.

    Args:
        number: M, of the images.
    """

    def __init__(self, number: int) -> None:
        draw = np.random.default_rng(0)
        images = draw.integers(0, 256, (number, 3, 32, 32), dtype=np.uint8)
        super().__init__(images, draw.integers(0, 100, number), [str(i) for i in range(100)])


def offline_config(losses: list[dict], folder: Path, images: int) -> Config:
    """Return the shipped config with other losses, random images and the teacher of ``folder``."""
    config = load_config(CONFIG, {})
    path = folder / 'teacher.pth'
    if not path.exists():
        torch.save(MODELS.build(config.model.teacher).state_dict(), path)
    config.model.update(teacher_checkpoint=str(path), losses=losses)
    config.train_dataloader.dataset = dict(type='mmmuse.FewRandomImages', number=images)
    return config


def cached(config: Config, distiller: OfflineDistiller, folder: Path) -> OfflineDistiller:
    """Return a distiller whose teacher's outputs are stored."""
    loader = loader_of(config)
    cache_teacher(distiller, loader, cache_index(config, distiller, loader), folder)
    preprocessor = {**config.data_preprocessor, 'fixed_views': 1, 'seed': 0}
    student = {**config.model.student, 'data_preprocessor': preprocessor}
    built = MODELS.build({**config.model, 'student': student, 'teacher_cache': str(folder)})
    built.prepare(torch.as_tensor(loader.dataset.labels))
    return built


def build_steps(args: argparse.Namespace, folder: Path) -> dict[str, Callable[[], None]]:
    """Return the steps by name; the student's own is first."""
    steps: dict[str, Callable[[], None]] = {}
    for number, (name, losses) in enumerate(LOSSES.items()):
        config = offline_config(losses, folder, args.images)
        taught = build_offline(config, num_views=1, seed=0)
        batch = loader_of(config).dataset.__getitems__(list(range(args.batch_size)))
        taught.prepare(torch.as_tensor(loader_of(config).dataset.labels))
        if not steps:
            steps['student alone'] = training_step(taught.student, batch, 0.01, args)
            taught = build_offline(config, num_views=1, seed=0)
            steps["teacher's forward alone"] = forward_step(taught, batch, args)
        stored = cached(config, taught, folder / f'cache{number}')
        steps[f'{name}, stored'] = training_step(stored, batch, 0.01, args)
        steps[f'{name}, teacher'] = training_step(taught, batch, 0.01, args)
    return steps


def forward_step(
    distiller: OfflineDistiller, batch: dict, args: argparse.Namespace
) -> Callable[[], None]:
    """Return the forward of a distiller's teacher."""
    distiller = distiller.to(args.device)
    inputs = distiller.data_preprocessor(batch, training=True)['inputs']

    def step() -> None:
        distiller.teacher(inputs)
        synchronize(args.device)

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_timing_flags(parser, batch_size=64)
    parser.add_argument('--images', type=int, default=2048, help='in the cache')
    args = parser.parse_args()
    args.amp = args.channels_last = False
    with explained(), tempfile.TemporaryDirectory() as folder:
        refuse_code_in_files()
        check_device(args.device)
        check_json(args.json)
        MMLogger.get_instance('benchmark', log_level='ERROR')
        if args.device == 'cpu':
            keep_freed_memory()
        steps = build_steps(args, Path(folder))
        compare_steps(f'ResNet-56 -> ResNet-20, 32x32, batch {args.batch_size}', steps, args)


if __name__ == '__main__':
    main()
