"""Hooks and options of OpenMMLab that address parts by name; the rows of docs/compatibility.md."""

from pathlib import Path
from types import SimpleNamespace

import mmdet.engine.hooks
import mmengine.hooks
import mmpretrain.engine.hooks
import pytest
import torch
from mmdet.engine.hooks import (
    CheckInvalidLossHook,
    NumClassCheckHook,
    PipelineSwitchHook,
    SetEpochInfoHook,
    SyncNormHook,
    YOLOXModeSwitchHook,
)
from mmdet.engine.hooks.sync_norm_hook import get_norm_states
from mmengine.config import Config
from mmengine.hooks import Hook, PrepareTTAHook
from mmengine.optim import build_optim_wrapper
from mmpretrain.engine.hooks import (
    ClassNumCheckHook,
    DenseCLHook,
    PrepareProtoBeforeValLoopHook,
    SetAdaptiveMarginsHook,
    SimSiamHook,
    SwAVHook,
    SwitchRecipeHook,
    WarmupParamHook,
)
from mmpretrain.engine.hooks.precise_bn_hook import update_bn_stats
from torch import nn

from mmmuse.errors import InputError
from mmmuse.hooks import StudentPrototypeHook
from mmmuse.hooks.parts_by_name import check_parts_by_name
from mmmuse.registry import MODELS

from ..conftest import labelled, small_classifier_config, small_distiller
from ..test_distillers.rivals import rival
from ..test_distillers.transfer import online

DOCS = Path(__file__).resolve().parents[2] / 'docs'


def runner_of(model, *hooks, **config) -> SimpleNamespace:
    """What the hooks read of a runner in its first epoch of two, with two iterations each."""
    dataset = SimpleNamespace(
        get_gt_labels=lambda: [0, 0, 1, 2, 3, 4],
        update_skip_type_keys=lambda keys: None,
        CLASSES=('a', 'b', 'c', 'd', 'e'),
        metainfo=dict(classes=('a', 'b', 'c', 'd', 'e')),
    )
    return SimpleNamespace(
        model=model,
        hooks=list(hooks),
        cfg=Config(config),
        _val_loop=config.get('val_cfg'),
        _test_loop=None,
        train_dataloader=SimpleNamespace(dataset=dataset),
        logger=SimpleNamespace(info=lambda *text: None),
        **dict(epoch=1, max_epochs=2, iter=1, max_iters=4, work_dir='no_such_folder', world_size=1),
    )


def refused(model, *hooks, **config) -> str:
    with pytest.raises(InputError) as error:
        check_parts_by_name(runner_of(model, *hooks, **config), model)
    assert '\n' not in str(error.value)
    assert 'student' in str(error.value) or config
    return str(error.value)


def arcface() -> dict:
    head = dict(type='ArcFaceClsHead', num_classes=5, in_channels=64, margins=[0.3] * 5)
    return dict(small_classifier_config(), head=head)


def switch_loss(model) -> None:
    new = dict(type='LabelSmoothLoss', label_smooth_val=0.1, num_classes=5)
    hook = SwitchRecipeHook([dict(action_epoch=2, loss=new)])
    hook.before_train_epoch(runner_of(model))
    assert type(model.student.head.loss_module).__name__ == 'LabelSmoothLoss'
    model.train()  # MMEngine does it after the hooks.
    assert {type(exit.loss_module).__name__ for exit in model.muse.exits} == {'LabelSmoothLoss'}


def switch_augments(model) -> None:
    augments = dict(augments=[dict(type='Mixup', alpha=0.8)])
    hook = SwitchRecipeHook([dict(action_epoch=2, batch_augments=augments)])
    hook.before_train_epoch(runner_of(model))
    assert model.student.data_preprocessor.batch_augments is not None


def set_margins(model) -> None:
    model = small_distiller('ce', student=arcface())
    SetAdaptiveMarginsHook(0.1, 0.4).before_train(runner_of(model))
    # Class 0 has two images, the others one.
    margins = model.student.head.margins
    torch.testing.assert_close(margins, torch.tensor([0.1, 0.4, 0.4, 0.4, 0.4]))


def warm_up_lambda(model) -> None:
    model.student.loss_lambda = 0.5
    hook, runner = DenseCLHook(start_iters=2), runner_of(model)
    hook.before_train(runner)
    hook.before_train_iter(runner, 0)
    assert model.student.loss_lambda == 0.0
    runner.iter = 2
    hook.before_train_iter(runner, 0)
    assert model.student.loss_lambda == 0.5


def set_queue(model) -> None:
    hook = SwAVHook(batch_size=1, epoch_queue_starts=0, queue_length=4, feat_dim=2)
    hook.before_run(runner_of(model))
    hook.before_train_epoch(runner_of(model))
    assert model.student.head.loss_module.queue.shape == (2, 4, 2)


def warm_up_parameter(model) -> None:
    hook = WarmupParamHook('loss_weight', 'head.loss_module', warmup_epochs=1)
    hook.before_train(runner_of(model))
    hook.before_train_iter(runner_of(model), 0)
    assert model.student.head.loss_module.loss_weight == 0.5  # One of two iterations.


def switch_yolox(model) -> None:
    model.student.bbox_head = SimpleNamespace(use_l1=False)
    YOLOXModeSwitchHook(num_last_epochs=1).before_train_epoch(runner_of(model))
    assert model.student.bbox_head.use_l1 is True


def set_epoch(model) -> None:
    epochs = []
    model.student.set_epoch = epochs.append
    SetEpochInfoHook().before_train_epoch(runner_of(model))
    assert epochs == [1]


def count_classes(model) -> None:
    counted = dict(small_classifier_config(), data_preprocessor=dict(num_classes=5))
    ClassNumCheckHook().before_train(runner_of(small_distiller('ce', student=counted)))
    with pytest.raises(AssertionError, match='num_classes'):
        ClassNumCheckHook().before_train(runner_of(small_distiller('ce', num_classes=4)))


def count_classes_of_detectors(model) -> None:
    counted = dict(small_classifier_config(), data_preprocessor=dict(num_classes=5))
    model = small_distiller('ce', student=counted)
    NumClassCheckHook().before_train_epoch(runner_of(model))
    with pytest.raises(AssertionError, match='num_classes'):
        NumClassCheckHook().before_train_epoch(runner_of(small_distiller('ce', num_classes=4)))


def check_losses(model) -> None:
    hook, runner = CheckInvalidLossHook(interval=1), runner_of(model)
    total, _ = model.parse_losses(model(torch.randn(2, 3, 16, 16), labelled([0, 1]), mode='loss'))
    hook.after_train_iter(runner, 0, outputs=dict(loss=total))
    with pytest.raises(AssertionError):
        hook.after_train_iter(runner, 0, outputs=dict(loss=total * float('nan')))


def switch_pipeline(model) -> None:
    runner = runner_of(model)
    PipelineSwitchHook(1, [dict(type='PackInputs')]).before_train_epoch(runner)
    assert [
        type(step).__name__ for step in runner.train_dataloader.dataset.pipeline.transforms
    ] == ['PackInputs']


def fix_rate_of_predictor(model) -> None:
    config = dict(
        optimizer=dict(type='SGD', lr=1.0),
        paramwise_cfg=dict(custom_keys={'head.fc': dict(fix_lr=True)}),
    )
    runner = runner_of(model)
    runner.optim_wrapper = build_optim_wrapper(model, config)
    SimSiamHook(fix_pred_lr=True, lr=0.5).before_train_epoch(runner)
    groups = runner.optim_wrapper.param_groups
    rates = {id(p): group['lr'] for group in groups for p in group['params']}
    own = {id(p) for p in model.student.head.parameters()}
    assert {name for name, rate in rates.items() if rate == 0.5} == own


def sync_norms(model) -> None:
    SyncNormHook().before_val_epoch(runner_of(model))  # One process has nothing to do.
    states = get_norm_states(model)
    assert 'student.backbone.bn1.running_mean' in states
    model.load_state_dict(states, strict=False)


def precise_norms(model) -> None:
    images = torch.randn(4, 3, 8, 8)
    samples = labelled([0, 1, 2, 3])
    loader = [dict(inputs=images, data_samples=samples)]

    class Loader(list):
        batch_size = 4

    own = model.adapters.state_dict()
    own = {name: value.clone() for name, value in own.items()}
    update_bn_stats(model.train(), Loader(loader), num_samples=4, logger='silent')
    first = model.student.backbone.conv1(model.data_preprocessor(loader[0])['inputs'])
    torch.testing.assert_close(model.student.backbone.bn1.running_mean, first.mean((0, 2, 3)))
    for name, value in model.adapters.state_dict().items():
        torch.testing.assert_close(value, own[name])


@pytest.mark.parametrize(
    'act',
    [
        switch_loss,
        switch_augments,
        set_margins,
        warm_up_lambda,
        set_queue,
        warm_up_parameter,
        switch_yolox,
        set_epoch,
        count_classes,
        count_classes_of_detectors,
        check_losses,
        switch_pipeline,
        fix_rate_of_predictor,
        sync_norms,
        precise_norms,
    ],
)
def test_a_hook_reaches_the_student(act):
    act(small_distiller('ce'))


@pytest.mark.parametrize(
    'hook',
    [
        SwitchRecipeHook([dict(action_epoch=1, loss=dict(type='CrossEntropyLoss'))]),
        SetAdaptiveMarginsHook(),
        DenseCLHook(),
        SwAVHook(batch_size=1),
        WarmupParamHook('loss_weight', 'head.loss_module', 1),
        YOLOXModeSwitchHook(),
        SetEpochInfoHook(),
        PrepareProtoBeforeValLoopHook(),
    ],
    ids=lambda hook: type(hook).__name__,
)
def test_a_hook_that_changes_parts_of_one_network_is_refused_for_several(hook):
    line = refused(online(dict(type='mmmuse.KDLoss')), hook)
    assert line.startswith(
        f'{type(hook).__name__} changes one network: of the OnlineDistiller only'
    )
    assert "peer 'a' (student), and not peers.b; remove the hook" in line


def test_other_switches_of_a_recipe_are_for_all_networks():
    model = online(dict(type='mmmuse.KDLoss'))
    check_parts_by_name(runner_of(model, SwitchRecipeHook([dict(action_epoch=1)])), model)


class MeanTeacherHook(Hook):
    """Named as mmdet's."""


def test_hooks_and_loops_of_semi_supervised_detectors_are_refused():
    line = refused(small_distiller('ce'), MeanTeacherHook())
    assert 'in a SelfDistiller model.student is the distilled network' in line
    assert 'student.backbone' in line
    assert line.endswith('remove the hook, or train that detector without the distiller')
    loop = refused(small_distiller('ce'), val_cfg=dict(type='mmdet.TeacherStudentValLoop'))
    assert 'remove the loop' in loop


class ReadsLabels(nn.Module):
    reads = frozenset({'labels'})
    name = 'CRDLoss'


def test_a_recipe_that_mixes_images_is_refused_at_the_start_where_a_loss_reads_labels(monkeypatch):
    model = small_distiller('ce')
    augments = dict(augments=[dict(type='Mixup', alpha=0.8)])
    hook = SwitchRecipeHook([dict(action_epoch=9, batch_augments=augments)])
    check_parts_by_name(runner_of(model, hook), model)
    monkeypatch.setattr(type(model), 'distill_losses', [ReadsLabels()])
    line = refused(model, hook)
    assert (
        'mixes images, in student.data_preprocessor, and CRDLoss needs images of one class' in line
    )


@pytest.mark.parametrize(
    ('build', 'reader'),
    [
        (lambda: rival('cs_kd'), 'CSKDDistiller'),
        (lambda: rival('ddgsd'), 'DDGSDDistiller'),
        (lambda: online(dict(type='mmmuse.KDLoss'), own_views=True), 'own_views'),
    ],
)
def test_a_recipe_that_mixes_images_is_refused_where_images_are_paired(build, reader):
    augments = dict(augments=[dict(type='Mixup', alpha=0.8)])
    line = refused(build(), SwitchRecipeHook([dict(action_epoch=9, batch_augments=augments)]))
    assert f'{reader} needs images of one class: remove it from the schedule' in line


def test_prototypes_of_a_distilled_retriever_are_prepared_before_each_validation():
    model, prepared = small_distiller('ce'), []
    model.student.prepare_prototype = lambda: prepared.append(1)
    hook = PrepareProtoBeforeValLoopHook()
    check_parts_by_name(runner_of(model, hook), model)
    assert type(hook) is StudentPrototypeHook
    hook.before_val(runner_of(model))
    hook.before_val(runner_of(model))
    assert prepared == [1, 1]


def test_the_prototypes_of_a_classifier_are_refused():
    assert 'student.prepare_prototype' in refused(
        small_distiller('ce'), PrepareProtoBeforeValLoopHook()
    )


@pytest.mark.parametrize('option', ['activation_checkpointing', 'efficient_conv_bn_eval'])
@pytest.mark.parametrize('path', ['backbone.layer2', 'student.backbone.layer2', ['backbone.conv1']])
def test_options_that_name_modules_reach_the_student(option, path):
    model = small_distiller('ce')
    check_parts_by_name(runner_of(model, **{option: path}), model)


@pytest.mark.parametrize('option', ['activation_checkpointing', 'efficient_conv_bn_eval'])
@pytest.mark.parametrize('path', ['backbone.layer9', 'bakbone', 'with_neck'])
def test_an_option_that_names_no_module_is_refused_with_the_students_paths(option, path):
    line = refused(small_distiller('ce'), **{option: path})
    assert line.startswith(f'{option}: there is no module {path!r}; available: ')
    assert 'student.backbone, student.neck, student.head' in line


def test_efficient_norms_that_bypass_a_tapped_module_are_refused():
    line = refused(small_distiller('ce'), efficient_conv_bn_eval=['backbone'])
    assert "of 'backbone' runs without calling the tapped module 'backbone.layer1'" in line


def test_a_distilled_retriever_finds_by_prototypes_that_were_set_by_name():
    retriever = dict(
        type='mmpretrain.ImageToImageRetriever',
        _scope_='mmpretrain',
        image_encoder=[small_classifier_config()['backbone'], dict(type='GlobalAveragePooling')],
        head=dict(type='ArcFaceClsHead', num_classes=5, in_channels=64, margins=[0.3] * 5),
        prototype=torch.ones(2, 64),
    )
    layers = [f'image_encoder.0.layer{i}' for i in range(1, 5)]
    taps = dict(modules=layers[:3], last=layers[3])
    model = small_distiller('mi_x_si_alone', student=retriever, taps=taps, neck=None).eval()
    model.prototype = torch.randn(3, 64)  # As mmpretrain's ImageRetrievalInferencer does.
    model.prepare_prototype()
    for sample in model(torch.randn(2, 3, 16, 16), labelled([0, 1]), mode='predict'):
        assert sample.pred_score.shape == (3,)
    hook = PrepareProtoBeforeValLoopHook()
    check_parts_by_name(runner_of(model, hook), model)
    model.prototype = torch.randn(4, 64)
    hook.before_val(runner_of(model))
    assert model.student.prototype_vecs.shape == (4, 64)


AVERAGE = dict(type='AverageClsScoreTTA')


def test_a_model_that_merges_the_student_alone_is_refused():
    model = small_distiller('ce')
    tta = MODELS.build(dict(AVERAGE, module=model))
    with pytest.raises(
        InputError, match='AverageClsScoreTTA merges the predictions of the student'
    ):
        check_parts_by_name(runner_of(tta), model)
    with pytest.raises(InputError, match=r"use dict\(type='mmmuse.MergedExits', tta_model=dict"):
        check_parts_by_name(runner_of(model, PrepareTTAHook(dict(AVERAGE))), model)
    merged = MODELS.build(dict(type='mmmuse.MergedExits', tta_model=AVERAGE, module=model))
    check_parts_by_name(runner_of(merged), model)


def test_a_distiller_without_exits_is_merged_by_any_model():
    model = small_distiller('mi_x_si_alone', neck=None)
    check_parts_by_name(runner_of(MODELS.build(dict(AVERAGE, module=model))), model)


HOOKS = sorted(
    {
        name
        for hooks in (mmengine.hooks, mmpretrain.engine.hooks, mmdet.engine.hooks)
        for name in hooks.__all__
        if name.endswith('Hook') and name != 'Hook'
    }
)


@pytest.mark.parametrize('name', HOOKS)
def test_every_hook_of_the_libraries_is_in_the_table(name):
    assert f'`{name}`' in (DOCS / 'compatibility.md').read_text()
