"""A training step of mmmuse beside a plain PyTorch loop of the same work, and beside other libraries.

BYOT on a ResNet-18, and KD, VID and CRD from a ResNet-56 to a ResNet-20, on images of noise of 32x32. The plain loop
has copies of the same modules and calls them one after the other; preprocessing is in every step. The plain loop of
CRD takes the rows of its negatives out of the memory, as the public code does. torchdistill takes part where it is
installed: ``uv pip install --group peers``; its negatives are drawn before the measurement. mmrazor's BYOT
takes part in no run: its last release does not import with mmcv above 2.1. Steps are interleaved and the median is taken.
"""

import argparse
import copy
import tempfile
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from torch import Tensor, nn

from mmmuse.checkpoints.mmengine_loading import refuse_code_in_files
from mmmuse.command_line.config import load_config
from mmmuse.command_line.device import check_device, synchronize
from mmmuse.command_line.explain import explained
from mmmuse.command_line.report import check_json, hardware, print_table, write_json
from mmmuse.command_line.step_benchmark import (
    add_timing_flags,
    interleaved_step_seconds,
    training_step,
)
from mmmuse.command_line.step_variants import noise_batch, prepare
from mmmuse.command_line.torchdistill_step import torchdistill_step
from mmmuse.distillers import OfflineDistiller, SelfDistiller
from mmmuse.environment.freed_memory import keep_freed_memory
from mmmuse.functional import hint_loss, kd_loss
from mmmuse.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
BYOT = ROOT / 'configs' / 'byot' / 'resnet18_cifar100_byot.py'
OFFLINE = ROOT / 'configs' / 'offline'
IMAGES = 50_000  # In the memory of CRD.
SGD = dict(lr=1e-3, momentum=0.9)
PAIR = 'ResNet-56 to ResNet-20'
LOSSES = {'BYOT': 'BYOT, ResNet-18', **{name: f'{name}, {PAIR}' for name in ('KD', 'VID', 'CRD')}}
Step = Callable[[], object]


def maps_of(backbone: nn.Module, images: Tensor) -> list[Tensor]:
    """Return the output of each stage of a ResNet for images of 32x32."""
    norm = getattr(backbone, 'norm1', None) or backbone.bn1
    x = backbone.relu(norm(backbone.conv1(images)))
    maps = []
    for name in getattr(backbone, 'res_layers', ('layer1', 'layer2', 'layer3')):
        x = getattr(backbone, name)(x)
        maps.append(x)
    return maps


class Logits(nn.Module):
    """A classifier of mmpretrain's as a plain module: images in, logits out."""

    def __init__(self, network: BaseModel) -> None:
        super().__init__()
        self.backbone, self.fc = network.backbone, network.head.fc
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.pool(maps_of(self.backbone, images)[-1]).flatten(1))


class PlainByot(nn.Module):
    """BYOT's loss of a batch, written out over the modules of a built distiller."""

    def __init__(self, distiller: SelfDistiller) -> None:
        super().__init__()
        self.network = distiller.student
        self.branches = distiller.adapters.branches
        self.exits = distiller.muse.exits

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        *shallow, last = maps_of(self.network.backbone, images)
        target = last.mean((2, 3))
        logits = self.network.head.fc(target)
        loss = 0.9 * F.cross_entropy(logits, labels)
        for branch, exit, feature in zip(self.branches, self.exits, shallow, strict=True):
            vector = branch(feature).mean((2, 3))
            own = exit.fc(vector)
            loss = loss + 0.9 * F.cross_entropy(own, labels) + 0.1 * kd_loss(own, logits, 3.0)
            loss = loss + 1e-6 * hint_loss(vector, target)
        return loss


class PlainNetwork(Logits):
    """The loss of the network without a distiller."""

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(super().forward(images), labels)


class PlainPair(nn.Module):
    """A student and a teacher without gradients."""

    def __init__(self, distiller: OfflineDistiller) -> None:
        super().__init__()
        self.student, self.teacher = Logits(distiller.student), Logits(distiller.teacher.model)
        self.teacher.requires_grad_(False).eval()
        self.loss = distiller.losses[0]

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        with torch.no_grad():
            target = maps_of(self.teacher.backbone, images)
        own = maps_of(self.student.backbone, images)
        logits = self.student.fc(own[-1].mean((2, 3)))
        return self.total(F.cross_entropy(logits, labels), logits, own, target)

    def total(
        self, cross_entropy: Tensor, logits: Tensor, own: list[Tensor], target: list[Tensor]
    ) -> Tensor:
        """Return the loss of the logits and of the maps of each stage."""
        raise NotImplementedError


class PlainKD(PlainPair):
    """The loss of KD, written out."""

    def total(
        self, cross_entropy: Tensor, logits: Tensor, own: list[Tensor], target: list[Tensor]
    ) -> Tensor:
        taught = self.teacher.fc(target[-1].mean((2, 3)))
        return 0.1 * cross_entropy + 0.9 * kd_loss(logits, taught, 4.0)


class PlainVID(PlainPair):
    """The loss of VID, written out."""

    def total(
        self, cross_entropy: Tensor, logits: Tensor, own: list[Tensor], target: list[Tensor]
    ) -> Tensor:
        loss = cross_entropy
        for regressor, raw, map_, of_teacher in zip(
            self.loss.regressors, self.loss.raw_variances, own, target, strict=True
        ):
            variance = (F.softplus(raw) + 1e-5)[:, None, None]
            error = (regressor(map_) - of_teacher).square()
            loss = loss + 0.5 * (error / variance + variance.log()).mean()
        return loss


class PlainCRD(PlainPair):
    """The loss of CRD, written out: each image's rows are taken out of the memory."""

    def __init__(self, distiller: OfflineDistiller) -> None:
        super().__init__(distiller)
        self.memory = [self.loss.memory_teacher.clone(), self.loss.memory_student.clone()]
        self.normaliser: list[Tensor | None] = [None, None]

    def total(
        self, cross_entropy: Tensor, logits: Tensor, own: list[Tensor], target: list[Tensor]
    ) -> Tensor:
        images = torch.arange(len(logits), device=logits.device)
        chosen = torch.cat([images[:, None], self.loss.draw_negatives(images)], 1)
        embedded = [
            F.normalize(layer(maps[-1].mean((2, 3))), dim=1)
            for layer, maps in (
                (self.loss.embed_student, own),
                (self.loss.embed_teacher, target),
            )
        ]
        loss = sum(self.side(i, each, chosen) for i, each in enumerate(embedded))
        with torch.no_grad():
            for memory, each in zip(self.memory, reversed(embedded), strict=True):
                memory[images] = F.normalize(0.5 * memory[images] + 0.5 * each, dim=1)
        return cross_entropy + 0.8 * loss

    def side(self, number: int, anchors: Tensor, chosen: Tensor) -> Tensor:
        rows = self.memory[number].to(anchors).index_select(0, chosen.flatten())
        scores = torch.bmm(rows.view(*chosen.shape, -1), anchors[..., None])[..., 0]
        scores = scores.div(0.07).exp()
        if self.normaliser[number] is None:
            self.normaliser[number] = scores.detach().mean() * IMAGES
        scores = scores / self.normaliser[number]
        noise = (chosen.shape[1] - 1) / IMAGES
        positive, negative = scores[:, 0], scores[:, 1:]
        return -(
            (positive / (positive + noise + 1e-7)).log().sum()
            + (noise / (negative + noise + 1e-7)).log().sum()
        ) / len(anchors)


def plain_step(
    make: Callable[[BaseModel], nn.Module], distiller: BaseModel, batch: dict, device: str
) -> Step:
    """Return a step of SGD on a loss that is written out, over copies of the distiller's modules."""
    own = copy.deepcopy(distiller).to(device).train()
    loss_of = make(own)
    trained = [weight for weight in loss_of.parameters() if weight.requires_grad]
    optimizer = torch.optim.SGD(trained, **SGD)
    labels = batch['gt_label'].to(device)

    def step() -> float:
        images = own.data_preprocessor(batch, training=True)['inputs']
        loss = loss_of(images, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        synchronize(device)
        return loss.detach()

    return step


def build(config_file: Path, **changes: str) -> BaseModel:
    """Build the model of a config with its data preprocessor."""
    config = load_config(str(config_file), {})
    config.model.update(changes)
    torch.manual_seed(0)
    return MODELS.build({'data_preprocessor': config.data_preprocessor, **config.model})


def build_offline(folder: str, loss: str) -> OfflineDistiller:
    """Build the distiller of a loss with a teacher of first weights."""
    path = Path(folder) / 'teacher.pth'
    file = OFFLINE / f'resnet56-resnet20_cifar100_{loss.lower()}.py'
    torch.save(MODELS.build(load_config(str(file), {}).model.teacher).state_dict(), path)
    distiller = build(file, teacher_checkpoint=str(path))
    if loss == 'CRD':
        distiller.prepare(torch.arange(IMAGES) % 100)
    return distiller


PLAIN = {'BYOT': PlainByot, 'KD': PlainKD, 'VID': PlainVID, 'CRD': PlainCRD}


def steps_of(loss: str, args: argparse.Namespace) -> dict[str, Step]:
    """Return the steps of one loss, the plain loop first."""
    batch = noise_batch(args.batch_size)
    ours = partial(training_step, batch=batch, lr=SGD['lr'], args=args)
    if loss == 'BYOT':
        distiller = build(BYOT)
        return {
            'plain loop': plain_step(PlainByot, distiller, batch, args.device),
            'mmmuse': ours(distiller),
            'the network without BYOT': plain_step(
                lambda own: PlainNetwork(own.student), distiller, batch, args.device
            ),
        }
    with tempfile.TemporaryDirectory() as folder:
        distiller = build_offline(folder, loss)
    steps = {'plain loop': plain_step(PLAIN[loss], distiller, batch, args.device)}
    if find_spec('torchdistill') is not None:
        own = copy.deepcopy(distiller)
        networks = Logits(own.student), Logits(own.teacher.model)
        step = torchdistill_step(loss, *networks, batch, SGD, args.device, IMAGES)
        preprocessor = own.data_preprocessor.to(args.device)
        steps['torchdistill'] = lambda: step(preprocessor(batch, training=True)['inputs'])
    return {**steps, 'mmmuse': ours(distiller)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_timing_flags(parser, batch_size=64)
    parser.set_defaults(amp=False, channels_last=False)
    parser.add_argument('--losses', nargs='+', default=list(LOSSES), choices=list(LOSSES))
    args = parser.parse_args()
    with explained():
        refuse_code_in_files()
        check_device(args.device)
        check_json(args.json)
        prepare()
        if args.device == 'cpu':
            keep_freed_memory()
        seconds = {
            loss: interleaved_step_seconds(steps_of(loss, args), args) for loss in args.losses
        }
        print_table(
            f'{"CPU " * args.cpu_time}ms of a step of {args.batch_size} images, median of {args.steps} '
            f'interleaved steps; {hardware(args.device)}',
            ['step', 'ms', 'x plain loop'],
            [
                [f'{LOSSES[loss]}: {name}', f'{1e3 * own:.1f}', f'{own / of["plain loop"]:.2f}']
                for loss, of in seconds.items()
                for name, own in of.items()
            ],
        )
        write_json(args.json, dict(seconds=seconds), args.device)


if __name__ == '__main__':
    main()
