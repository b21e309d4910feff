"""Hooks by module path follow modules that are replaced after the build."""

import copy

import pytest
import torch
from mmcv.cnn import fuse_conv_bn
from mmengine.model import convert_sync_batchnorm, revert_sync_batchnorm
from mmengine.model.efficient_conv_bn_eval import turn_on_efficient_conv_bn_eval
from torch import nn

from mmmuse.distillers import EarlyExitClassifier
from mmmuse.errors import InputError
from mmmuse.registry import MODELS
from mmmuse.tapping.path_hooks import PathHooks, split_index

from ..conftest import (
    as_trained,
    labelled,
    small_classifier_config,
    small_distiller,
    two_stage_config,
)
from ..test_distillers import transfer
from ..test_hooks.test_student_checkpoint import build_runner, distiller_config, student_config

NORM = 'backbone.layer2.0.downsample.1'
TAPS = dict(modules=['backbone.layer1', NORM], last='backbone.layer4', logits='head')
SYNC = dict(type='SyncBN', requires_grad=True)


def student(**backbone) -> dict:
    config = small_classifier_config()
    return {**config, 'backbone': {**config['backbone'], **backbone}}


def step(distiller) -> dict:
    torch.manual_seed(0)
    return distiller(torch.randn(4, 3, 16, 16), labelled([0, 1, 2, 3]), mode='loss')


def doubled(module, args, output):
    return 2 * output


@pytest.mark.parametrize(
    ('path', 'expected'),
    [('neck', ('neck', None)), ('neck[0]', ('neck', 0)), ('a.b[-2]', ('a.b', -2))],
)
def test_a_tap_path_is_a_module_path_and_an_index(path, expected):
    assert split_index(path) == expected


def test_the_hook_moves_to_the_module_that_is_at_the_path_now():
    model = nn.Sequential(nn.Identity(), nn.Identity())
    old = model[1]
    hooks = PathHooks(model, {'1': doubled})
    model[1] = nn.ReLU()
    hooks.follow(model)
    assert model(torch.ones(1)).item() == 2
    assert old(torch.ones(1)).item() == 1
    hooks.remove()
    assert model(torch.ones(1)).item() == 1


def test_following_twice_adds_no_second_hook():
    model = nn.Sequential(nn.Identity())
    hooks = PathHooks(model, {'0': doubled})
    hooks.follow(model)
    hooks.follow(model)
    assert model(torch.ones(1)).item() == 2


def test_a_module_below_a_replaced_one_is_followed():
    model = nn.Sequential(nn.Sequential(nn.Identity()))
    hooks = PathHooks(model, {'0.0': doubled})
    model[0] = nn.Sequential(nn.Identity())
    hooks.follow(model)
    assert model(torch.ones(1)).item() == 2


def test_a_copy_follows_in_the_copy_alone():
    model = nn.Sequential(nn.Identity())
    hooks = PathHooks(model, {'0': doubled})
    copied, of_copy = copy.deepcopy((model, hooks))
    copied[0] = nn.Identity()
    of_copy.follow(copied)
    assert copied(torch.ones(1)).item() == 2
    assert model(torch.ones(1)).item() == 2


def test_a_module_that_is_gone_is_named():
    model = nn.Sequential(nn.Identity(), nn.Identity())
    hooks = PathHooks(model, {'1': doubled})
    del model[1]
    with pytest.raises(InputError, match="tapped module '1' is no longer in Sequential"):
        hooks.follow(model)


def test_a_tapped_norm_trains_on_after_sync_bn_has_replaced_it():
    distiller = small_distiller('ce', taps=TAPS).train()
    expected = step(copy.deepcopy(distiller))
    converted = convert_sync_batchnorm(distiller)
    assert isinstance(converted.student.get_submodule(NORM), nn.SyncBatchNorm)
    for name, value in step(converted).items():
        torch.testing.assert_close(value, expected[name], msg=name)


def test_a_tapped_sync_norm_trains_on_in_one_process_where_the_runner_reverts_it():
    distiller = small_distiller('ce', student=student(norm_cfg=SYNC), taps=TAPS).train()
    reverted = revert_sync_batchnorm(distiller)
    assert not isinstance(reverted.student.get_submodule(NORM), nn.SyncBatchNorm)
    losses = step(reverted)
    reverted.parse_losses(losses)[0].backward()
    assert reverted.student.backbone.layer1[0].conv1.weight.grad.abs().sum() > 0


def test_a_run_of_one_process_with_sync_bn_trains_with_a_tapped_norm(tmp_path):
    config = student_config()
    config['backbone'] = {**config['backbone'], 'norm_cfg': SYNC}
    runner = build_runner(tmp_path, model={**distiller_config(config), 'taps': TAPS})
    assert not isinstance(runner.model.student.get_submodule(NORM), nn.SyncBatchNorm)
    runner.train()
    assert (tmp_path / 'epoch_1.pth').exists()


def test_a_peers_tapped_norm_is_followed():
    taps = dict(modules=['backbone.layer2.0.downsample.1'], last='backbone.layer3', logits='head')
    peers = {name: dict(model=transfer.network(), taps=taps) for name in 'ab'}
    distiller = MODELS.build(
        dict(type='mmmuse.OnlineDistiller', peers=peers, losses=[transfer.MUSE])
    ).train()
    convert_sync_batchnorm(distiller)
    losses = distiller(*transfer.batch(), mode='loss')
    assert losses['b.loss_muse'].isfinite()


def test_an_early_exit_at_a_replaced_module_is_still_taken():
    classifier = as_trained(
        EarlyExitClassifier(
            student(),
            dict(
                modules=['backbone.layer1', 'backbone.layer2'],
                last='backbone.layer4',
                logits='head',
            ),
            head=dict(type='mmmuse.MUSEHead'),
            neck=dict(type='mmmuse.SelfDistillNeck'),
            thresholds=[0.0, None],
        )
    ).eval()
    layer = classifier.student.backbone.layer1
    classifier.student.backbone.layer1 = nn.Sequential(*layer)
    _, exits = classifier.classify(torch.randn(3, 3, 16, 16))
    assert exits.tolist() == [1, 1, 1]


def test_a_compiled_stage_is_followed_and_gives_the_same_losses():
    distiller = small_distiller('ce').train()
    expected = step(distiller)
    backbone = distiller.student.backbone
    backbone.layer1 = torch.compile(backbone.layer1, backend='eager')
    for name, value in step(distiller).items():
        torch.testing.assert_close(value, expected[name], msg=name)
    torch._dynamo.reset()


def test_a_compiled_step_taps_a_module_that_was_replaced_before_it():
    taps = {**TAPS, 'last': 'backbone.layer2'}
    distiller = small_distiller('ce', student=two_stage_config(), taps=taps).train()
    expected = step(copy.deepcopy(distiller))
    convert_sync_batchnorm(distiller)
    distiller.train()  # As the runner calls it before the first step.
    distiller.compile(backend='eager')
    for name, value in step(distiller).items():
        torch.testing.assert_close(value, expected[name], msg=name)
    torch._dynamo.reset()


def test_a_tapped_norm_that_was_fused_into_its_convolution_is_still_read():
    distiller = small_distiller('ce', taps=TAPS).train()
    for _ in range(3):
        step(distiller)  # Statistics that are not 0 and 1.
    distiller.eval()
    images, samples = torch.randn(4, 3, 16, 16), labelled([0, 1, 2, 3])

    def scores() -> list[torch.Tensor]:
        return [sample.exit_scores for sample in distiller(images, samples, mode='predict')]

    expected = scores()
    fuse_conv_bn(distiller.student)
    assert isinstance(distiller.student.get_submodule(NORM), nn.Identity)
    torch.testing.assert_close(scores(), expected, rtol=1e-3, atol=1e-5)


def test_a_module_that_torch_fx_bypasses_is_named():
    distiller = small_distiller('ce').train()
    turn_on_efficient_conv_bn_eval(distiller, 'student.backbone')
    with pytest.raises(InputError, match=r"'backbone.layer1' was not reached.*efficient_conv_bn"):
        step(distiller)


def test_a_module_that_was_bypassed_is_named():
    distiller = small_distiller('ce').train()
    backbone = distiller.student.backbone
    backbone.forward = lambda x: (x.new_ones(len(x), 64, 2, 2),)
    with pytest.raises(InputError, match=r"'backbone.layer1' was not reached.*replaced, or that"):
        step(distiller)
