"""A classifier and a detector learn from networks of timm and transformers, all four at once."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet.testing import demo_mm_inputs
from mmengine.config import ConfigDict
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from torch.utils.data import Dataset

from mmmuse.datasets import BatchedImages
from mmmuse.distillers.build_teacher import TeacherConfig, build_teacher
from mmmuse.distillers.teacher_provenance import full_provenance, given_provenance
from mmmuse.errors import InputError
from mmmuse.registry import MODELS

from ..test_hooks.test_student_checkpoint import assert_same, read, train
from ..test_teachers.networks import NUM_CLASSES, timm_teacher, transformers_teacher
from ..two_processes import in_two_processes
from .detectors import detector

pytest.importorskip('timm')
pytest.importorskip('transformers')

MUSE = dict(type='mmmuse.MUSELoss', loss_weight=1.0, critic=dict(hidden_channels=8))
HOOKS = [dict(type='mmmuse.StudentCheckpointHook')]


def classifier() -> dict:
    return dict(
        type='ImageClassifier',
        _scope_='mmpretrain',
        data_preprocessor=dict(
            type='mmmuse.BatchedDataPreprocessor',
            mean=[124.0, 116.0, 104.0],
            std=[58.0, 57.0, 57.0],
        ),
        backbone=dict(type='MobileNetV2', widen_factor=0.1, out_indices=(7,)),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=NUM_CLASSES, in_channels=1280),
    )


def teachers(*losses: dict) -> list[dict]:
    four = dict(
        vit=timm_teacher('vit'),
        convnext=timm_teacher('convnext'),
        vit_hf=transformers_teacher('vit'),
        swin_hf=transformers_teacher('swin'),
    )
    # A last map, patch tokens and a pooled vector.
    features = dict(vit='tokens', convnext='map', vit_hf='map', swin_hf='vector')
    return [
        dict(
            teacher=teacher,
            name=name,
            taps=dict(last=features[name], logits='logits'),
            losses=[
                loss for loss in losses if features[name] != 'vector' or loss['type'] in VECTORS
            ],
            channel_order='same',
        )
        for name, teacher in four.items()
    ]


VECTORS = {'mmmuse.KDLoss', 'mmmuse.MUSELoss'}
KD, FITNET = dict(type='mmmuse.KDLoss'), dict(type='mmmuse.FitNetLoss')
CWD = dict(type='mmmuse.CWDLoss', resize=True)


def taught_classifier() -> dict:
    return dict(
        type='mmmuse.OfflineDistiller',
        student=classifier(),
        teacher=teachers(KD, FITNET, MUSE),
        taps=dict(
            modules=['backbone.layer2', 'backbone.layer5'], last='backbone.conv2', logits='head'
        ),
        input_shape=(3, 32, 32),
    )


def taught_detector() -> dict:
    return dict(
        type='mmmuse.OfflineDistiller',
        student=detector('RetinaNet'),
        teacher=teachers(CWD, MUSE),
        taps=dict(modules=['backbone.layer2', 'backbone.layer3'], last='backbone.layer4'),
        input_shape=(3, 64, 64),
    )


TAUGHT = dict(classifier=taught_classifier, detector=taught_detector)


class Boxes(Dataset):
    """Four images of 64x64 pixels with boxes."""

    metainfo = dict(classes=('a', 'b', 'c'))

    def __init__(self) -> None:
        found = demo_mm_inputs(4, [[3, 64, 64]] * 4, num_items=[2] * 4, num_classes=3)
        self.items = [
            dict(inputs=image, data_samples=sample)
            for image, sample in zip(found['inputs'], found['data_samples'])
        ]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict:
        return self.items[index]


def loader(kind: str) -> dict:
    if kind == 'detector':
        parts = dict(dataset=Boxes(), collate_fn=dict(type='pseudo_collate'))
    else:
        draw = np.random.default_rng(0)
        images = draw.integers(0, 256, (4, 3, 32, 32), dtype=np.uint8)
        dataset = BatchedImages(images, np.arange(4), 'abcde')
        parts = dict(dataset=dataset, collate_fn=dict(type='mmmuse.keep_batch'))
    return dict(
        batch_size=2, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True), **parts
    )


@pytest.fixture(scope='module', params=TAUGHT)
def runs(request, tmp_path_factory):
    """A run of two epochs, and one that is resumed after the first."""
    options = dict(
        train_dataloader=loader(request.param),
        custom_hooks=HOOKS,
        default_scope='mmdet' if request.param == 'detector' else 'mmpretrain',
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=1e-4, momentum=0.9)),
        epochs=2,
    )
    folder = tmp_path_factory.mktemp(request.param)
    model = TAUGHT[request.param]
    straight, last = train(folder / 'one', ConfigDict(model()), **options)
    first = str(folder / 'one' / 'epoch_1.pth')
    resumed, _ = train(folder / 'two', ConfigDict(model()), load_from=first, resume=True, **options)
    return straight, resumed, last


@pytest.mark.slow
def test_a_resumed_run_has_the_same_bits(runs):
    straight, resumed, _ = runs
    assert_same(resumed.model.state_dict(), straight.model.state_dict())
    for name, teacher in straight.model.teacher.teachers.items():
        other = resumed.model.teacher.teachers[name].model
        assert_same(other.state_dict(), teacher.model.state_dict())


@pytest.mark.slow
def test_the_file_has_exactly_the_tensors_of_the_student(runs):
    straight, _, path = runs
    saved = read(path)
    assert list(saved['state_dict']) == list(straight.model.student.state_dict())
    assert {name.split('.')[0] for name in saved['distiller']} == {'losses'}
    assert not any('timm' in name or 'network' in name for name in saved['distiller'])


@pytest.mark.slow
def test_a_teacher_is_neither_trained_nor_a_submodule(runs):
    straight, _, _ = runs
    distiller = straight.model
    fresh = MODELS.build(ConfigDict(TAUGHT['classifier']())).teacher.teachers
    optimised = {id(p) for group in straight.optim_wrapper.param_groups for p in group['params']}
    inside = {id(module) for module in distiller.modules()}
    for name, teacher in distiller.teacher.teachers.items():
        assert_same(teacher.model.state_dict(), fresh[name].model.state_dict())
        assert not teacher.model.training
        assert not {id(module) for module in teacher.model.modules()} & inside
        for parameter in teacher.model.parameters():
            assert parameter.grad is None
            assert not parameter.requires_grad
            assert id(parameter) not in optimised


def train_two_steps(rank: int, folder: str) -> None:
    """One of two processes, each with images of its own."""
    for kind, config in TAUGHT.items():
        torch.manual_seed(rank)  # DDP has to bring the weights of rank 0 to rank 1.
        distiller = MODELS.build(ConfigDict(config())).train()
        teachers = distiller.teacher.teachers
        model = MMDistributedDataParallel(distiller, device_ids=None)
        wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9))
        data = loader(kind)['dataset']
        for step in range(2):  # The second step is what an unused parameter would stop.
            batch = [data[(2 * step + rank + i) % 4] for i in range(2)]
            if kind == 'detector':
                batch = {key: [item[key] for item in batch] for key in batch[0]}
            else:
                batch = data.__getitems__([2 * step + rank, (2 * step + rank + 1) % 4])
            with wrapper.optim_context(model):
                prepared = distiller.data_preprocessor(batch, training=True)
                losses = model(**prepared, mode='loss')
            total, _ = distiller.parse_losses(losses)
            wrapper.update_params(total)
        state = dict(distiller.named_parameters())
        for name, teacher in teachers.items():
            state |= {
                f'teacher.{name}.{key}': value for key, value in teacher.model.state_dict().items()
            }
        torch.save(state, f'{folder}/{kind}{rank}.pt')


@pytest.mark.slow
def test_two_processes_stay_equal(tmp_path: Path):
    in_two_processes(train_two_steps, tmp_path)
    for kind in TAUGHT:
        first, second = (torch.load(tmp_path / f'{kind}{rank}.pt') for rank in (0, 1))
        assert sum(name.startswith('teacher.') for name in first) > 4
        for name, value in first.items():
            assert value.isfinite().all(), name
            assert torch.equal(value, second[name]), name


@pytest.mark.parametrize('size', [None, 64])
def test_a_cache_of_a_named_teacher_is_recognised_by_what_the_config_says(size):
    teacher = timm_teacher('convnext')
    student = MODELS.build(classifier())
    given = given_provenance(teacher, None, None, size, 'same')
    built = build_teacher(TeacherConfig(teacher, input_size=size, channel_order='same'), student)
    full = full_provenance(built, teacher, None, None, student.data_preprocessor)
    assert given.items() <= full.items()
    other = given_provenance({**teacher, 'name': 'timm::convnext_femto'}, None, None, size, 'same')
    assert other['config'] != given['config']


@pytest.mark.parametrize('name', ['timm::resnet18', dict(name='timm::resnet18', pretrained=False)])
def test_a_network_that_is_trained_has_no_such_name(name):
    message = r'can be a teacher only: a network that is trained is an OpenMMLab model$'
    if isinstance(name, dict):
        with pytest.raises(InputError, match=message):
            MODELS.build({**taught_classifier(), 'student': name})
    peers = dict(a=dict(model=classifier(), taps='auto'), b=dict(model=name, taps='auto'))
    with pytest.raises(InputError, match=message):
        MODELS.build(dict(type='mmmuse.OnlineDistiller', peers=peers, losses=[KD]))
