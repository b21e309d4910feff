"""mmpretrain's self-supervised methods as students."""

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmpretrain.models import MoCo
from mmpretrain.structures import DataSample

from mmmuse.distillers import OfflineDistiller, OnlineDistiller, SelfDistiller
from mmmuse.errors import InputError
from mmmuse.registry import MODELS

from ..conftest import small_classifier_config

BACKBONE = dict(type='ResNet', depth=18, stem_channels=8, base_channels=8)
PREPROCESSOR = dict(type='SelfSupDataPreprocessor', mean=[127.0] * 3, std=[60.0] * 3)
TAPS = dict(modules=['backbone.layer1', 'backbone.layer2'], last='backbone.layer4')
HEAD = dict(
    type='mmmuse.MUSEHead',
    ce_weight=0,
    kd_weight=0,
    discrepancy=dict(type='mmmuse.MUSELoss', critic=dict(hidden_channels=8)),
)
SHAPE = (3, 32, 32)


def method(kind: str, neck: dict, head: dict, **options) -> dict:
    return dict(
        type=f'mmpretrain.{kind}',
        _scope_='mmpretrain',
        backbone=BACKBONE,
        neck=neck,
        head=head,
        data_preprocessor=PREPROCESSOR,
        **options,
    )


def contrastive(kind: str) -> dict:
    neck = dict(in_channels=64, hid_channels=16, out_channels=8)
    if kind == 'MoCo':
        neck.update(type='MoCoV2Neck', with_avg_pool=True)
    else:
        neck.update(type='DenseCLNeck')
    head = dict(type='ContrastiveHead', loss=dict(type='CrossEntropyLoss'), temperature=0.2)
    return method(kind, neck, head, queue_len=32, feat_dim=8)


def simsiam() -> dict:
    linear = dict(type='NonLinearNeck', num_layers=2, with_avg_pool=False)
    return method(
        'SimSiam',
        dict(linear, in_channels=64, hid_channels=16, out_channels=16, with_avg_pool=True),
        dict(
            type='LatentPredictHead',
            loss=dict(type='CosineSimilarityLoss'),
            predictor=dict(linear, in_channels=16, hid_channels=8, out_channels=16),
        ),
    )


def views(number: int = 4) -> dict:
    inputs = [255 * torch.rand(number, *SHAPE) for _ in range(2)]
    return dict(inputs=inputs, data_samples=[DataSample() for _ in range(number)])


def one_step(distiller) -> dict:
    torch.manual_seed(0)
    optimizer = OptimWrapper(torch.optim.SGD(distiller.parameters(), lr=0.01))
    return distiller.train().train_step(views(), optimizer)


@pytest.mark.parametrize('kind', ['MoCo', 'DenseCL'])
def test_a_method_that_runs_its_backbone_once_learns_with_muse(kind):
    distiller = SelfDistiller(contrastive(kind), TAPS, HEAD, input_shape=SHAPE)
    own = distiller.student.data_preprocessor
    seen = []
    distiller.student.backbone.register_forward_pre_hook(lambda _, images: seen.append(images[0]))
    losses = one_step(distiller)
    own_losses = {'MoCo': {'loss_student'}, 'DenseCL': {'loss_single', 'loss_dense'}}[kind]
    assert own_losses | {'loss_muse', 'mi_loss_1', 'si_loss_2'} <= set(losses)
    torch.manual_seed(0)
    first = own(views(), True)['inputs'][0]
    assert len(seen) == 1
    assert torch.equal(seen[0], first)


def test_the_teacher_sees_the_first_view():
    teacher = small_classifier_config()
    distiller = OfflineDistiller(
        contrastive('MoCo'),
        taps=TAPS,
        teacher=MODELS.build(teacher),
        teacher_taps=dict(modules=['backbone.layer1'], last='backbone.layer4'),
        losses=[dict(type='mmmuse.MUSELoss', critic=dict(hidden_channels=8))],
        input_shape=SHAPE,
        teacher_channel_order='same',
    )
    seen = []
    distiller.teacher.model.backbone.register_forward_pre_hook(
        lambda _, images: seen.append(images[0].shape)
    )
    assert 'loss_muse' in one_step(distiller)
    assert seen == [(4, *SHAPE)]


def test_a_method_with_several_forwards_is_refused():
    with pytest.raises(InputError, match=r'^SimSiam is not supported as a student'):
        SelfDistiller(simsiam(), TAPS, HEAD, input_shape=SHAPE)


def test_none_is_a_peer():
    peers = [dict(name=name, model=contrastive('MoCo'), taps=TAPS) for name in 'ab']
    with pytest.raises(InputError, match=r'^MoCo is not supported as a peer'):
        OnlineDistiller(peers, [dict(type='mmmuse.MUSELoss')])


class OwnMoCo(MoCo):
    """A subclass of the user's."""


def test_a_class_of_the_users_own_is_built():
    config = contrastive('MoCo')
    student = MODELS.build(config)
    student.__class__ = OwnMoCo
    SelfDistiller(student, TAPS, HEAD, input_shape=SHAPE)
