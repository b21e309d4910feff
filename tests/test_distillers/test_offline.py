import copy

import pytest
import torch
from mmengine.optim import OptimWrapper
from torch import nn

from mmmuse.errors import InputError
from mmmuse.functional import kd_loss
from mmmuse.optim import BFloat16OptimWrapper
from mmmuse.registry import MODELS
from mmmuse.tapping.features import DistillFeatures, Step

from ..test_hooks.test_student_checkpoint import assert_same, read, train
from .transfer import CRD, LABELS, MUSE, TAPS, batch, network, offline


def step(distiller, wrapper=None, **options) -> None:
    images, samples = batch()
    wrapper = wrapper or OptimWrapper(torch.optim.SGD(distiller.parameters(), lr=0.1))
    distiller.train_step(dict(inputs=images, data_samples=samples), wrapper)


def test_every_parameter_gets_a_gradient_and_the_teacher_none():
    distiller = offline()
    images, samples = batch()
    total, log = distiller.parse_losses(distiller(images, samples, mode='loss'))
    total.backward()
    assert [name for name, value in distiller.named_parameters() if value.grad is None] == []
    assert all(value.grad is None for value in distiller.teacher.model.parameters())
    assert {'loss_student', 'loss_kd', 'loss_fitnet', 'loss_at', 'loss_vid', 'loss_mmd'} < set(log)
    assert {'loss_crd', 'loss_dkd', 'loss_review_kd', 'loss_muse', 'mi_loss_3', 'si_loss_1'} < set(
        log
    )


def test_the_teacher_is_bit_for_bit_what_it_was_after_steps():
    distiller = offline()
    before = copy.deepcopy(distiller.teacher.model.state_dict())
    for _ in range(3):
        step(distiller)
    assert any('running_mean' in name for name in before)
    assert_same(distiller.teacher.model.state_dict(), before)
    assert not any(module.training for module in distiller.teacher.model.modules())


def test_nothing_of_the_teacher_is_in_optimizer_or_state():
    distiller = offline()
    of_teacher = {id(value) for value in distiller.teacher.model.parameters()}
    optimizer = torch.optim.SGD(distiller.parameters(), lr=0.1, momentum=0.9)
    step(distiller, OptimWrapper(optimizer))
    assert not of_teacher & {id(p) for group in optimizer.param_groups for p in group['params']}
    assert not of_teacher & {id(p) for p in optimizer.state}
    assert not any(name.startswith('teacher') for name, _ in distiller.named_modules())
    assert {name.split('.')[0] for name in distiller.state_dict()} == {'student', 'losses'}


def test_kd_is_that_of_the_two_networks_on_the_same_images():
    distiller = offline(dict(type='mmmuse.KDLoss', temperature=4))
    images, samples = batch()
    student = copy.deepcopy(distiller.student)  # BN statistics move in a step.
    expected = kd_loss(student(images), distiller.teacher.model(images), 4.0)
    losses = distiller(images, samples, mode='loss')
    torch.testing.assert_close(losses['loss_kd'], expected)
    torch.testing.assert_close(
        losses['loss_student'], student.loss(images, samples)['loss'], rtol=1e-4, atol=1e-5
    )


def test_f_t_of_muse_is_the_teachers():
    distiller = offline(MUSE)
    images, samples = batch()
    losses = distiller(images, samples, mode='loss')
    muse = distiller.losses[0]
    assert muse.target_specs[0].channels == 24  # The teacher's 4 x 6, where the student has 16.
    taught = distiller.teacher(images)
    with distiller.taps:
        distiller.student(images, mode='tensor')
        shallow = distiller.collect().shallow
    again = muse(Step(DistillFeatures(shallow), taught))
    # In training mode a batch is normalised by its own statistics, so a second forward is the same.
    torch.testing.assert_close(again['loss_muse'], losses['loss_muse'])


def test_two_terms_of_one_name_both_count():
    kd = dict(type='mmmuse.KDLoss', temperature=4)
    distiller = offline(kd, kd)
    losses = distiller(*batch(), mode='loss')
    assert torch.equal(losses['loss_kd'], losses['loss_kd_2'])


def test_the_students_own_exits_go_with_a_teacher():
    distiller = offline(
        dict(type='mmmuse.KDLoss', temperature=4),
        head=dict(type='mmmuse.MUSEHead', discrepancy=MUSE),
        neck=dict(type='mmmuse.SelfDistillNeck'),
    )
    losses = distiller(*batch(), mode='loss')
    assert {'loss_kd', 'exit1.loss_ce', 'exit3.loss_kd', 'loss_muse'} < set(losses)
    assert 'exit_scores' in distiller.eval()(*batch(), mode='predict')[0]


def test_the_teacher_follows():
    distiller = offline(dict(type='mmmuse.KDLoss', temperature=4)).double()
    assert next(distiller.teacher.model.parameters()).dtype == torch.float64


def test_bfloat16_gives_finite_losses():
    distiller = offline()
    step(distiller, BFloat16OptimWrapper(torch.optim.SGD(distiller.parameters(), lr=0.01)))
    assert all(torch.isfinite(value).all() for value in distiller.parameters())


def test_a_teacher_with_other_normalisation_and_size_sees_its_own_images():
    mine = dict(type='ClsDataPreprocessor', mean=[100.0] * 3, std=[50.0] * 3)
    its = dict(type='ClsDataPreprocessor', mean=[0.0] * 3, std=[255.0] * 3)
    distiller = offline(
        dict(type='mmmuse.KDLoss', temperature=4),
        student=network(data_preprocessor=mine),
        teacher=MODELS.build(network(6, data_preprocessor=its)),
        teacher_input_size=32,
    )
    raw = torch.randint(0, 256, (2, 3, 16, 16)).float()
    expected = nn.functional.interpolate(raw / 255, 32, mode='bilinear')
    found = distiller.teacher((raw - 100) / 50).logits
    torch.testing.assert_close(found, distiller.teacher.model(expected))


def test_a_teacher_without_logits_does_not_run_its_head():
    distiller = offline(MUSE, teacher_taps={**TAPS, 'logits': None})
    ran = []
    distiller.teacher.model.head.register_forward_hook(lambda *_: ran.append(1))
    distiller(*batch(), mode='loss')
    assert not ran


def test_another_kind_of_teacher_needs_no_more_than_its_taps():
    teacher = dict(
        type='ImageClassifier',
        _scope_='mmpretrain',
        backbone=dict(type='mmmuse.WideResNet', depth=10, widen_factor=1),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=5, in_channels=64),
    )
    taps = dict(
        modules=['backbone.conv1', 'backbone.layer1', 'backbone.layer2'],
        last='backbone.relu',
        logits='head',
    )
    distiller = offline(teacher=MODELS.build(teacher), teacher_taps=taps)
    assert torch.isfinite(
        sum(v for k, v in distiller(*batch(), mode='loss').items() if 'loss' in k)
    )


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(losses=[]), r'needs losses, a list such as'),
        (dict(losses=dict(type='mmmuse.KDLoss')), r'losses is a list of dicts, got \{'),
        (
            dict(losses=[dict(type='mmmuse.KDL')]),
            r"unknown loss between networks 'mmmuse.KDL'; available",
        ),
        (dict(losses=[dict(type='mmmuse.HintLoss')]), r'HintLoss reads a head.s exits'),
        (
            dict(losses=[dict(type='mmmuse.KDLoss')], teacher=MODELS.build(network(4, 7))),
            r'KDLoss compares class logits, and the networks differ in classes: 5 .taps. and 7 .teacher_taps.',
        ),
        (
            dict(
                losses=[dict(type='mmmuse.VIDLoss')],
                teacher_taps=dict(modules=['backbone.layer1'], last='backbone.layer3'),
            ),
            r'VIDLoss compares modules .* of both networks, and taps has 4 of them, teacher_taps 2',
        ),
        (
            dict(
                losses=[dict(type='mmmuse.AttentionTransferLoss')],
                teacher_taps={**TAPS, 'last': 'neck'},
            ),
            r'AttentionTransferLoss compares maps, and the output of module 4 .* is a vector',
        ),
        (
            dict(losses=[dict(type='mmmuse.VIDLoss', modules=[5])]),
            r'modules are numbers from 1 to 4',
        ),
        (
            dict(losses=[CRD], taps=dict(logits='head')),
            r'CRDLoss reads the last feature: set taps.last',
        ),
        (dict(losses=[MUSE], taps=dict(logits='head')), r'set taps\.'),
        (dict(teacher=None), r'needs a teacher, or teacher_cache'),
        (dict(teacher=network(6)), r'the teacher has no trained weights'),
        (dict(teacher_taps=dict(last='backbone.layer9')), r"no module 'backbone.layer9'; nearest"),
        (dict(teacher_channel_order='bgr'), r"channel_order is None or 'same' or 'reversed'"),
        (dict(teacher_input_size=0), 'input_size is None or an integer of at least 1, got 0'),
    ],
)
def test_what_cannot_be_compared_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        offline(**options)


def test_other_class_counts_are_no_matter_for_features():
    distiller = offline(MUSE, CRD, teacher=MODELS.build(network(6, 7)))
    assert 'loss_crd' in distiller(*batch(), mode='loss')


def run_config(teacher: str) -> dict:
    preprocessor = dict(type='mmmuse.BatchedDataPreprocessor', mean=[120.0], std=[60.0])
    return dict(
        type='mmmuse.OfflineDistiller',
        student=network(in_channels=1, data_preprocessor=preprocessor),
        teacher=network(6, in_channels=1, data_preprocessor=preprocessor),
        teacher_checkpoint=teacher,
        taps=TAPS,
        losses=[dict(type='mmmuse.KDLoss', temperature=4), CRD, MUSE],
    )


HOOKS = [dict(type='mmmuse.StudentCheckpointHook'), dict(type='mmmuse.TrainingLabelsHook')]


@pytest.mark.parametrize('ema', [False, True])
def test_a_resumed_run_takes_the_step_that_an_uninterrupted_one_takes(ema, teacher_file, tmp_path):
    hooks = HOOKS + ([dict(type='EMAHook', momentum=0.1)] if ema else [])
    options = dict(model=run_config(teacher_file), custom_hooks=hooks)
    straight, path = train(tmp_path / 'one', **options)
    saved = read(path)
    assert list(saved['state_dict']) == list(MODELS.build(network(in_channels=1)).state_dict())
    assert any('memory_student' in name for name in saved['distiller'])
    assert {name.split('.')[0] for name in saved['distiller']} == {'losses'}
    options['model'] = run_config(teacher_file)
    resumed, _ = train(tmp_path / 'two', load_from=str(path), resume=True, **options)
    assert_same(resumed.model.state_dict(), straight.model.state_dict())
    assert_same(resumed.model.teacher.model.state_dict(), torch.load(teacher_file)['state_dict'])
    losses = []
    for runner in (straight, resumed):
        torch.manual_seed(7)
        images, samples = torch.randn(4, 1, 8, 8), batch()[1]
        losses.append(runner.model(images, samples, mode='loss'))
    assert_same(*losses)


def test_an_average_does_not_copy_the_teacher():
    distiller = offline(dict(type='mmmuse.KDLoss', temperature=4))
    assert copy.deepcopy(distiller).teacher.model is distiller.teacher.model


def test_memory_has_a_row_for_each_image():
    assert offline(CRD).losses[0].memory_student.shape == (len(LABELS), 8)


def test_a_teacher_that_does_not_normalise_sees_the_students_images():
    mine = dict(type='mmmuse.BatchedDataPreprocessor', mean=[100.0] * 3, std=[50.0] * 3, resize=16)
    distiller = offline(
        dict(type='mmmuse.KDLoss', temperature=4), student=network(data_preprocessor=mine)
    )
    images = torch.randn(2, 3, 16, 16)
    assert torch.equal(distiller.teacher.conversion(images), images)
