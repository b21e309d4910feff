"""A segmenter learns from another one, by configs."""

import pytest
import torch

pytest.importorskip('mmseg')

from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmmuse.analysis.teacher_outputs import build_offline
from mmmuse.distillers import OfflineDistiller
from mmmuse.errors import InputError

from ..conftest import small_classifier_config
from .segmenters import (
    CLASSES,
    batch,
    losses_of,
    plain_copy,
    predictions_of,
    segmenter,
    segmenter_config,
    taps_of,
)

MUSE = dict(type='mmmuse.MUSELoss', critic=dict(hidden_channels=8))


def offline(*losses: dict, teacher: str = 'segformer', **options) -> OfflineDistiller:
    """A PSPNet that learns from another segmenter."""
    with DefaultScope.overwrite_default_scope('mmseg'):
        return OfflineDistiller(
            segmenter_config('pspnet'),
            segmenter(teacher),
            taps=taps_of('pspnet'),
            teacher_taps=taps_of(teacher),
            losses=losses,
            **options,
        ).train()


def test_kd_is_between_the_pixels_of_student_and_teacher():
    distiller = offline(dict(type='mmmuse.KDLoss', temperature=2.0))
    distiller.student.decode_head.dropout = None
    kept = {}
    distiller.student.decode_head.conv_seg.register_forward_hook(
        lambda _, args, output: kept.update(student=output.detach())
    )
    _, losses = losses_of(distiller)
    inputs = batch(distiller)['inputs']
    with torch.no_grad():
        target = distiller.teacher.model(inputs, mode='tensor') / 2
    assert target.shape[2:] == (16, 16)
    student = torch.nn.functional.interpolate(kept['student'], (16, 16), mode='bilinear') / 2
    log_p, log_q = student.log_softmax(1), target.log_softmax(1)
    each = (log_q.exp() * (log_q - log_p)).sum(1)
    torch.testing.assert_close(losses['loss_kd'], 4 * each.mean())


def test_features_and_logits_of_a_bigger_segmenter_teach_every_stage():
    distiller = offline(dict(type='mmmuse.KDLoss'), MUSE)
    loss, losses = losses_of(distiller)
    assert {'loss_kd', 'loss_muse', 'decode.loss_ce'} <= set(losses)
    loss.backward()
    for path in distiller.tap_paths.all:
        module = distiller.student.get_submodule(path)
        assert any(p.grad.abs().sum() > 0 for p in module.parameters())
    found = predictions_of(distiller)
    plain = predictions_of(plain_copy('pspnet', distiller))
    assert torch.equal(found[0].pred_sem_seg.data, plain[0].pred_sem_seg.data)


def test_losses_of_class_labels_and_teachers_of_images_are_refused():
    with pytest.raises(InputError, match='DKDLoss reads one class label for each image'):
        offline(dict(type='mmmuse.DKDLoss'))
    student, taps = segmenter_config('pspnet'), taps_of('pspnet')
    teacher = dict(small_classifier_config(CLASSES))
    from mmmuse.registry import MODELS

    with pytest.raises(InputError, match='only one of the networks is a segmenter'):
        OfflineDistiller(
            student,
            MODELS.build(teacher),
            taps=taps,
            teacher_taps=dict(modules=['backbone.layer1'], last='backbone.layer4', logits='head'),
            losses=[dict(type='mmmuse.KDLoss')],
        )


def test_a_teachers_cache_is_refused_for_a_segmenter():
    refused = 'a teacher cache is of classifiers and backbones, and the student is a segmenter'
    kd = dict(type='mmmuse.KDLoss')
    with pytest.raises(InputError, match=refused):
        offline(kd, teacher_cache='cache.pt')
    model = dict(type='mmmuse.OfflineDistiller', student=segmenter_config('pspnet'), losses=[kd])
    with pytest.raises(InputError, match=refused):
        build_offline(Config(dict(model=model, default_scope='mmseg')), 2, seed=0)
