"""Exits follow the student's head: every head of mmpretrain, as in docs/compatibility.md."""

from pathlib import Path

import mmpretrain
import pytest
import torch
from mmpretrain.models import heads
from mmpretrain.structures import DataSample, MultiTaskDataSample

from mmmuse.distillers import EarlyExitClassifier, SelfDistiller
from mmmuse.errors import InputError
from mmmuse.functional import binary_kd_loss
from mmmuse.registry import MODELS

from ..conftest import TAPS, labelled, small_classifier_config, small_distiller
from .rivals import rival

DOCS = Path(__file__).resolve().parents[2] / 'docs'
LINEAR = dict(num_classes=5, in_channels=64)
# Heads that classify, with the arguments of small ones.
CLASSIFY = {
    'LinearClsHead': LINEAR,
    'StackedLinearClsHead': dict(LINEAR, mid_channels=[8]),
    'VisionTransformerClsHead': LINEAR,
    'EfficientFormerClsHead': dict(LINEAR, distillation=False),
    'LeViTClsHead': dict(LINEAR, distillation=False),
    'ArcFaceClsHead': dict(LINEAR, margins=[0.3] * 5),
    'MultiLabelLinearClsHead': LINEAR,
}
SIGMOID = {'MultiLabelLinearClsHead', 'CSRAClsHead'}


def student(head: str, **options) -> dict:
    return dict(small_classifier_config(), head=dict(type=head, **options))


def csra() -> dict:
    config = student('CSRAClsHead', num_classes=5, in_channels=64, num_heads=1, lam=0.1)
    return {key: value for key, value in config.items() if key != 'neck'}


def several_labels() -> list[DataSample]:
    return [DataSample().set_gt_label(labels) for labels in ([0, 3], [1], [2, 3, 4], [3])]


def batch(head: str) -> tuple[torch.Tensor, list[DataSample]]:
    samples = several_labels() if head in SIGMOID else labelled([0, 1, 2, 3])
    return torch.randn(4, 3, 16, 16), samples


def of_head(head: str, **options) -> SelfDistiller:
    config = csra() if head == 'CSRAClsHead' else student(head, **CLASSIFY[head])
    return small_distiller('ce_kd', student=config, **options)


@pytest.mark.parametrize('head', [*CLASSIFY, 'CSRAClsHead'])
def test_exits_of_a_classifying_head_train_and_predict(head):
    distiller = of_head(head).train()
    images, samples = batch(head)
    total, log = distiller.parse_losses(distiller(images, samples, mode='loss'))
    total.backward()
    assert all(p.grad is not None for p in distiller.muse.parameters())
    assert ('exit1.loss_kd' in log) is (head != 'ArcFaceClsHead')
    predictions = distiller.eval()(images, samples, mode='predict')
    scores = torch.stack([sample.exit_scores for sample in predictions])
    assert scores.shape == (4, 3, 5)
    sums_to_one = torch.allclose(scores.sum(2), torch.ones(4, 3))
    assert sums_to_one is (head not in SIGMOID)


@pytest.mark.parametrize('head', [*CLASSIFY, 'CSRAClsHead'])
def test_an_exit_has_the_students_loss(head):
    distiller = of_head(head)
    for exit in distiller.muse.exits:
        assert type(exit.loss_module) is type(distiller.student.head.loss_module)


def test_the_exits_of_a_multi_label_student_learn_every_label():
    config = student('MultiLabelLinearClsHead', **LINEAR, thr=0.3)
    distiller = small_distiller('ce_kd', student=config)
    assert {type(exit).__name__ for exit in distiller.muse.exits} == {'MultiLabelLinearClsHead'}
    assert {exit.thr for exit in distiller.muse.exits} == {0.3}
    images, samples = batch('MultiLabelLinearClsHead')
    with distiller.tapped:
        distiller.student(images, mode='tensor')
        features = distiller.collect()
    losses = distiller.muse.loss(features, samples)
    logits = distiller.muse.exit_logits(features)[0]
    target = torch.zeros(4, 5)
    for row, labels in zip(target, ([0, 3], [1], [2, 3, 4], [3])):
        row[labels] = 1
    entropy = (
        -(target * logits.sigmoid().log() + (1 - target) * (1 - logits.sigmoid()).log()).sum() / 4
    )
    torch.testing.assert_close(losses['exit1.loss_ce'], 0.9 * entropy)
    kd = binary_kd_loss(logits, features.logits, 1.0)
    torch.testing.assert_close(losses['exit1.loss_kd'], 0.1 * kd)


def test_the_logits_of_a_margin_head_are_not_imitated():
    distiller = of_head('ArcFaceClsHead')
    assert not distiller.muse.kd


def test_the_logits_of_a_margin_head_are_not_compared_between_views():
    with pytest.raises(
        InputError, match='DDGSDDistiller compares class logits, and those of a mar'
    ):
        rival('ddgsd', student=student('ArcFaceClsHead', **CLASSIFY['ArcFaceClsHead']))


@pytest.mark.parametrize(
    ('head', 'options', 'reason'),
    [
        ('LinearRegressionHead', dict(num_classes=2, in_channels=64), 'predicts numbers'),
        (
            'MultiTaskHead',
            dict(task_heads=dict(a=dict(type='LinearClsHead', num_classes=5)), in_channels=64),
            'has several tasks',
        ),
    ],
)
def test_a_head_without_classes_has_no_exits(head, options, reason):
    if head not in MODELS:
        pytest.skip(f'mmpretrain {mmpretrain.__version__} has no {head}')
    config = student(head, **options)
    logits = 'head.task_heads.a' if head == 'MultiTaskHead' else 'head'
    with pytest.raises(InputError) as error:
        small_distiller('ce', student=config, taps={**TAPS, 'logits': logits})
    assert str(error.value) == (
        f'exits need class logits, and the head {head} of the student {reason}: leave the exits out '
        'with ce_weight=0, kd_weight=0 in the head'
    )
    taps = {key: path for key, path in TAPS.items() if key != 'logits'}
    distiller = small_distiller('mi_x_si_alone', student=config, taps=taps, neck=None).train()
    sample = DataSample().set_gt_label(1)
    samples = [sample, sample]
    if head == 'MultiTaskHead':
        samples = [MultiTaskDataSample() for _ in range(2)]
        for each in samples:
            each.set_field(sample, 'a')
    else:
        samples = [DataSample().set_gt_score(torch.ones(2)) for _ in range(2)]
    losses = distiller(torch.randn(2, 3, 16, 16), samples, mode='loss')
    assert losses['loss_muse'].isfinite()


def test_the_two_logits_of_a_conformer_head_have_to_be_chosen():
    class Pair(torch.nn.Module):
        def forward(self, feats):
            return ([feats[-1].mean((2, 3))] * 2,)

    config = student('ConformerHead', num_classes=5, in_channels=[64, 64])
    network = MODELS.build(config)
    network.neck = Pair()
    with pytest.raises(InputError, match=r"outputs 2 tensors; select one, e.g. 'head\[0\]'"):
        small_distiller('ce', student=network)
    distiller = small_distiller('ce', student=network, taps={**TAPS, 'logits': 'head[0]'}).train()
    losses = distiller(torch.randn(2, 3, 16, 16), labelled([0, 1]), mode='loss')
    assert losses['exit1.loss_ce'].isfinite()


@pytest.mark.parametrize('loss', ['KDLoss', 'DKDLoss'])
def test_a_loss_on_softmax_is_refused_between_multi_label_networks(loss):
    config = student('MultiLabelLinearClsHead', **LINEAR)
    model = dict(
        type='mmmuse.OfflineDistiller',
        student=config,
        teacher=MODELS.build(config),
        taps=dict(logits='head'),
        losses=[dict(type=f'mmmuse.{loss}')],
    )
    with pytest.raises(InputError, match=f'{loss} compares the softmax of logits.*BinaryKDLoss'):
        MODELS.build(model)
    model['losses'] = [dict(type='mmmuse.BinaryKDLoss', loss_weight=2.0)]
    distiller = MODELS.build(model).train()
    images, samples = batch('MultiLabelLinearClsHead')
    losses = distiller(images, samples, mode='loss')
    assert losses['loss_kd'] > 0


@pytest.mark.parametrize('multi_label', ['student', 'teacher'])
@pytest.mark.parametrize('loss', ['KDLoss', 'BinaryKDLoss'])
def test_logits_for_a_softmax_and_for_a_sigmoid_are_not_compared(loss, multi_label):
    configs = {name: student('LinearClsHead', **LINEAR) for name in ('student', 'teacher')}
    configs[multi_label] = student('MultiLabelLinearClsHead', **LINEAR)
    model = dict(
        type='mmmuse.OfflineDistiller',
        student=configs['student'],
        teacher=MODELS.build(configs['teacher']),
        taps=dict(logits='head'),
        losses=[dict(type=f'mmmuse.{loss}')],
    )
    taps = {'student': 'taps', 'teacher': 'teacher_taps'}[multi_label]
    with pytest.raises(InputError, match=rf'those of {taps} are for a sigmoid \(multi-label\)'):
        MODELS.build(model)


def test_early_exit_of_a_multi_label_network_is_refused():
    with pytest.raises(InputError, match='multi-label head has one probability for each class'):
        EarlyExitClassifier(
            student('MultiLabelLinearClsHead', **LINEAR),
            TAPS,
            head='ce',
            thresholds=[0.5] * 3,
        )


def test_rivals_that_read_one_class_label_refuse_a_multi_label_student():
    with pytest.raises(InputError, match='head MultiLabelLinearClsHead of the student is multi-l'):
        MODELS.build(
            dict(
                type='mmmuse.CSKDDistiller',
                student=student('MultiLabelLinearClsHead', **LINEAR),
                taps=dict(logits='head'),
            )
        )


@pytest.mark.parametrize('name', sorted(heads.__all__))
def test_every_head_of_mmpretrain_is_in_the_table(name):
    text = (DOCS / 'compatibility.md').read_text()
    assert f'`{name}`' in text
