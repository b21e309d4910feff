"""The overhead of MMEngine and mmmuse in a step of ResNet-56 -> ResNet-20: ``offline_step.py``.

A runner trains from the shipped config with its hooks. After each of its steps a plain PyTorch loop, with the
same formulas and its own copies of the networks, does the same work. The time of a runner's step is the time
between two plain steps: loading, preprocessing, the step, every hook. Figures are medians; the overhead is
the median ratio of each step to the plain step after it.
"""

import argparse
import copy
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.hooks import Hook
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from torch import Tensor, nn

from mmmuse.checkpoints.mmengine_loading import refuse_code_in_files
from mmmuse.command_line.config import load_config
from mmmuse.command_line.device import (
    add_device_flag,
    check_device,
    synchronize,
    use_in_runners,
)
from mmmuse.command_line.explain import explained
from mmmuse.command_line.report import check_json, hardware, print_table, write_json
from mmmuse.datasets import BatchedImages
from mmmuse.datasets.load_checked_image import check_loaded_images
from mmmuse.datasets.preprocessor import crop_and_flip
from mmmuse.distillers import OfflineDistiller
from mmmuse.functional import crd_loss, kd_loss, same_grid, vid_loss
from mmmuse.registry import DATASETS, MODELS

METHODS = ('kd', 'vid', 'crd')
ROOT = Path(__file__).resolve().parents[2]
CONFIG = str(ROOT / 'configs' / 'offline' / 'resnet56-resnet20_cifar100_{}.py')
MEAN = torch.tensor([129.3105, 124.1085, 112.404]).view(3, 1, 1)
STD = torch.tensor([68.2125, 65.4075, 70.4055]).view(3, 1, 1)


@DATASETS.register_module(force=True)  # The tests run this file several times.
class RandomImages(BatchedImages):
    """Random images of the size, number and number of classes of CIFAR-100."""

    def __init__(self) -> None:
        draw = np.random.default_rng(0)
        images = draw.integers(0, 256, (50_000, 3, 32, 32), dtype=np.uint8)
        super().__init__(images, draw.integers(0, 100, 50_000), [str(i) for i in range(100)])


class PlainLoop:
    """The same training, step by step, in plain PyTorch."""

    def __init__(self, distiller: OfflineDistiller, data: BatchedImages, batch_size: int) -> None:
        self.student = copy.deepcopy(distiller.student)
        self.teacher = copy.deepcopy(distiller.teacher.model)
        self.loss = copy.deepcopy(distiller.losses[0])
        self.data, self.batch_size = data, batch_size
        self.ce_weight = distiller.student.head.loss_module.loss_weight
        parameters = [*self.student.parameters(), *self.loss.parameters()]
        self.optimizer = torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=5e-4)
        self.device = next(self.student.parameters()).device

    def batch(self) -> tuple[Tensor, Tensor, Tensor]:
        chosen = torch.randint(len(self.data), (self.batch_size,))
        images = torch.from_numpy(self.data.images[chosen.numpy()]).to(self.device)
        labels = torch.from_numpy(self.data.labels[chosen.numpy()]).to(self.device)
        rows, columns = torch.randint(9, (2, self.batch_size), device=self.device)
        flips = torch.rand(self.batch_size, device=self.device) < 0.5
        images = crop_and_flip(images, 4, rows, columns, flips).float()
        return images.sub_(MEAN.to(images)).div_(STD.to(images)), labels, chosen.to(self.device)

    @staticmethod
    def features(network: nn.Module, images: Tensor) -> tuple[list[Tensor], Tensor]:
        backbone = network.backbone
        x = backbone.relu(backbone.bn1(backbone.conv1(images)))
        maps = []
        for layer in (backbone.layer1, backbone.layer2, backbone.layer3):
            x = layer(x)
            maps.append(x)
        return maps, network.head.fc(x.mean((2, 3)))

    def step(self) -> None:
        images, labels, chosen = self.batch()
        with torch.no_grad():
            taught, teacher_logits = self.features(self.teacher, images)
        own, logits = self.features(self.student, images)
        loss = self.ce_weight * F.cross_entropy(logits, labels)
        kind = type(self.loss).__name__
        if kind == 'KDLoss':
            loss = loss + self.loss.loss_weight * kd_loss(logits, teacher_logits, 4.0)
        elif kind == 'CRDLoss':
            loss = loss + self.loss.loss_weight * self.crd(own[2], taught[2], chosen)
        else:
            loss = loss + self.vid(own, taught)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def vid(self, own: list[Tensor], taught: list[Tensor]) -> Tensor:
        parts = self.loss
        total = 0.0
        for regressor, raw, mine, target in zip(
            parts.regressors, parts.raw_variances, own, taught, strict=True
        ):
            mine, target = same_grid(mine, target)
            total = total + vid_loss(regressor(mine), F.softplus(raw) + 1e-5, target)
        return total

    def crd(self, own: Tensor, taught: Tensor, chosen: Tensor) -> Tensor:
        state = self.loss
        mine = F.normalize(state.embed_student(own.mean((2, 3))), dim=1)
        its = F.normalize(state.embed_teacher(taught.mean((2, 3))), dim=1)
        of_class = state.labels[chosen]
        starts, counts = state.starts[of_class, None], state.counts[of_class, None]
        draws = torch.rand(len(chosen), state.num_negatives, device=self.device).double()
        places = (draws * (state.num_images - counts)).long()
        negatives = state.by_class[places + (places >= starts) * counts]
        rows = torch.cat([chosen[:, None], negatives], 1)
        total = 0.0
        for anchors, memory, normaliser in (
            (mine, state.memory_teacher, state.normaliser_teacher),
            (its, state.memory_student, state.normaliser_student),
        ):
            scores = (anchors @ memory.clone().T / state.temperature).gather(1, rows).exp()
            if normaliser < 0:
                normaliser.fill_(scores.detach().mean() * state.num_images)
            scores = scores / normaliser.clone()
            total = total + crd_loss(scores[:, 0], scores[:, 1:], state.num_images)
        with torch.no_grad():
            for memory, new in ((state.memory_student, mine), (state.memory_teacher, its)):
                memory[chosen] = F.normalize(0.5 * memory[chosen] + 0.5 * new, dim=1)
        return total


class Interleave(Hook):
    """After each of the runner's steps, one of the plain loop's; both are timed."""

    priority = 'LOWEST'

    def __init__(self, warmup: int) -> None:
        self.warmup = warmup
        self.times: dict[str, list[float]] = {'runner': [], 'plain': []}

    def before_train_epoch(self, runner: Runner) -> None:
        distiller = runner.model
        loader = runner.train_dataloader
        self.plain = PlainLoop(distiller, loader.dataset, loader.batch_size)
        self.resumed = time.perf_counter()

    def after_train_iter(self, runner: Runner, batch_idx: int, *args, **kwargs) -> None:
        synchronize(str(self.plain.device))
        done = time.perf_counter()
        self.plain.step()
        synchronize(str(self.plain.device))
        again = time.perf_counter()
        if batch_idx >= self.warmup:
            self.times['runner'].append(done - self.resumed)
            self.times['plain'].append(again - done)
        self.resumed = again


def measure(method: str, args: argparse.Namespace, folder: str) -> dict[str, float]:
    config = load_config(CONFIG.format(method), {})
    teacher = MODELS.build(config.model.teacher)
    path = Path(folder) / 'teacher.pth'
    torch.save(teacher.state_dict(), path)
    config.model.teacher_checkpoint = str(path)
    config.work_dir = folder
    config.launcher = 'none'
    config.log_level = 'ERROR'
    config.experiment_name = f'offline_step_{method}'
    config.val_cfg = config.val_dataloader = config.val_evaluator = None
    config.test_cfg = config.test_dataloader = config.test_evaluator = None
    config.default_hooks.checkpoint = None
    steps = args.warmup + args.steps
    config.train_dataloader = dict(
        config.train_dataloader,
        batch_size=args.batch_size,
        sampler=dict(type='DefaultSampler', shuffle=True),
        num_batch_per_epoch=steps,
        dataset=dict(type='mmmuse.RandomImages'),
    )
    config.train_cfg = dict(by_epoch=True, max_epochs=1)
    runner = Runner.from_cfg(config)
    interleave = Interleave(args.warmup)
    runner.register_hook(interleave)
    runner.train()
    times = interleave.times
    ratios = [mine / plain for mine, plain in zip(times['runner'], times['plain'], strict=True)]
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {**medians, 'ratio': statistics.median(ratios)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--methods', nargs='+', default=METHODS, choices=METHODS)
    parser.add_argument('--batch-size', type=int, default=64)
    parser.add_argument('--steps', type=int, default=20)
    parser.add_argument('--warmup', type=int, default=2)
    add_device_flag(parser)
    parser.add_argument('--json', help='file for the figures')
    args = parser.parse_args()
    with explained(), tempfile.TemporaryDirectory() as folder:
        refuse_code_in_files()
        check_loaded_images()
        check_json(args.json)
        check_device(args.device)
        use_in_runners(args.device)
        MMLogger.get_instance('benchmark', log_level='ERROR')
        seconds = {method: measure(method, args, folder) for method in args.methods}
        print_table(
            f'ResNet-56 -> ResNet-20, 32x32, batch {args.batch_size}, median of {args.steps} '
            f'interleaved steps; {hardware(args.device)}',
            ['loss', 'plain loop, ms', 'runner, ms', 'overhead %'],
            [
                [
                    method,
                    f'{times["plain"] * 1e3:.1f}',
                    f'{times["runner"] * 1e3:.1f}',
                    f'{100 * (times["ratio"] - 1):+.1f}',
                ]
                for method, times in seconds.items()
            ],
        )
        write_json(args.json, dict(seconds=seconds), args.device)


if __name__ == '__main__':
    main()
