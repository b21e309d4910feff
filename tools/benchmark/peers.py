"""A training step of mmmuse beside a plain PyTorch loop of the same work, and beside other libraries.

BYOT on a ResNet-18, and KD from a ResNet-56 to a ResNet-20, both on images of noise of 32x32. The plain loop has copies
of the same modules and calls them one after the other; preprocessing is in every step. torchdistill takes part where it
is installed: ``uv pip install --group peers``. mmrazor's BYOT takes part in no run: its last release does not
import with mmcv above 2.1. Steps are interleaved and the median is taken.
"""

import argparse
import copy
import importlib.util
import logging
import tempfile
from collections.abc import Callable
from functools import partial
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
from mmmuse.distillers import OfflineDistiller, SelfDistiller
from mmmuse.environment.freed_memory import keep_freed_memory
from mmmuse.functional import hint_loss, kd_loss
from mmmuse.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
BYOT = ROOT / 'configs' / 'byot' / 'resnet18_cifar100_byot.py'
KD = ROOT / 'configs' / 'offline' / 'resnet56-resnet20_cifar100_kd.py'
SGD = dict(lr=1e-3, momentum=0.9)
LOSSES = {'BYOT': 'BYOT, ResNet-18', 'KD': 'KD, ResNet-56 to ResNet-20'}
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

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(maps_of(self.backbone, images)[-1].mean((2, 3)))


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


class PlainKD(nn.Module):
    """The loss of KD, written out."""

    def __init__(self, distiller: OfflineDistiller) -> None:
        super().__init__()
        self.student, self.teacher = Logits(distiller.student), Logits(distiller.teacher.model)
        self.teacher.requires_grad_(False).eval()

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        with torch.no_grad():
            target = self.teacher(images)
        own = self.student(images)
        return 0.1 * F.cross_entropy(own, labels) + 0.9 * kd_loss(own, target, 4.0)


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


def torchdistill_step(distiller: OfflineDistiller, batch: dict, device: str) -> Step:
    """Return a step of torchdistill's KD."""
    logging.disable(logging.INFO)
    from torchdistill.core.distillation import get_distillation_box

    own = copy.deepcopy(distiller)
    loss = dict(
        student_module_path='.',
        student_module_io='output',
        teacher_module_path='.',
        teacher_module_io='output',
        temperature=4.0,
        alpha=0.1,
        reduction='batchmean',
    )
    terms = dict(kd=dict(criterion=dict(key='KDLoss', kwargs=loss), weight=1.0))
    config = dict(
        num_epochs=1,
        teacher=dict(requires_grad=False, forward_proc='forward_batch_only'),
        student=dict(forward_proc='forward_batch_only'),
        criterion=dict(key='WeightedSumLoss', kwargs=dict(sub_terms=terms)),
        optimizer=dict(key='SGD', kwargs=dict(SGD)),
    )
    teacher, student = Logits(own.teacher.model), Logits(own.student)
    place = torch.device(device)
    box = get_distillation_box(
        teacher.to(place), student.to(place), {}, config, place, None, False, 1
    )
    box.teacher_model.eval()
    box.student_model.train()
    preprocessor = own.data_preprocessor.to(place)
    labels = batch['gt_label'].to(place)

    def step() -> Tensor:
        images = preprocessor(batch, training=True)['inputs']
        loss = box.forward_process(images, labels)
        box.post_forward_process(loss)
        synchronize(device)
        return loss.detach()

    return step


def build(config_file: Path, **changes: str) -> BaseModel:
    """Build the model of a config with its data preprocessor."""
    config = load_config(str(config_file), {})
    config.model.update(changes)
    torch.manual_seed(0)
    return MODELS.build({'data_preprocessor': config.data_preprocessor, **config.model})


def build_offline(folder: str) -> OfflineDistiller:
    """Build the distiller of KD with a teacher of first weights."""
    path = Path(folder) / 'teacher.pth'
    torch.save(MODELS.build(load_config(str(KD), {}).model.teacher).state_dict(), path)
    return build(KD, teacher_checkpoint=str(path))


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
        distiller = build_offline(folder)
    steps = {'plain loop': plain_step(PlainKD, distiller, batch, args.device)}
    if importlib.util.find_spec('torchdistill') is not None:
        steps['torchdistill'] = torchdistill_step(distiller, batch, args.device)
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
