"""Test-time augmentation of a distiller."""

import torch
from mmpretrain.structures import DataSample

from mmmuse.registry import MODELS

from ..conftest import as_trained, labelled, small_distiller
from .transfer import batch, online

AVERAGE = dict(type='AverageClsScoreTTA')


def views_of(samples: list, model, *views: torch.Tensor) -> list[tuple]:
    predictions = [
        model(view, [sample.clone() for sample in samples], mode='predict') for view in views
    ]
    return list(zip(*predictions))


def test_scores_of_exits_are_averaged_as_those_of_the_student():
    model = small_distiller('ce').eval()
    tta = MODELS.build(dict(type='mmmuse.MergedExits', module=model, tta_model=AVERAGE))
    images, samples = torch.randint(0, 256, (3, 3, 16, 16)).float(), labelled([0, 1, 2])
    mirrored = images.flip(-1)
    found = tta.test_step(
        dict(inputs=[images, mirrored], data_samples=[samples, [s.clone() for s in samples]])
    )
    first, second = (
        model(each, labelled([0, 1, 2]), mode='predict') for each in (images, mirrored)
    )
    for sample, a, b in zip(found, first, second):
        torch.testing.assert_close(sample.exit_scores, (a.exit_scores + b.exit_scores) / 2)
        torch.testing.assert_close(sample.pred_score, (a.pred_score + b.pred_score) / 2)
        assert not torch.allclose(sample.exit_scores, a.exit_scores)
    assert [sample.gt_label.item() for sample in found] == [0, 1, 2]


def test_predictions_of_peers_are_averaged():
    model = as_trained(online(dict(type='mmmuse.KDLoss'))).eval()
    tta = MODELS.build(dict(type='mmmuse.MergedExits', module=model, tta_model=AVERAGE))
    images, samples = batch()
    views = views_of(samples, model, images, images.flip(-1))
    for sample, (a, b) in zip(tta.merge_preds(views), views):
        expected = (a.peers.b.pred_score + b.peers.b.pred_score) / 2
        torch.testing.assert_close(sample.peers.b.pred_score, expected)


def test_a_student_alone_is_merged_as_a_plain_model():
    model = small_distiller('mi_x_si_alone', neck=None).eval()
    tta = MODELS.build(dict(type='mmmuse.MergedExits', module=model, tta_model=AVERAGE))
    views = views_of([DataSample()], model, torch.zeros(1, 3, 16, 16), torch.ones(1, 3, 16, 16))
    (sample,), ((a, b),) = tta.merge_preds(views), views
    torch.testing.assert_close(sample.pred_score, (a.pred_score + b.pred_score) / 2)
    assert 'exit_scores' not in sample


def test_the_weights_are_those_of_the_distiller():
    model = small_distiller('ce')
    tta = MODELS.build(dict(type='mmmuse.MergedExits', module=model, tta_model=AVERAGE))
    assert {name.split('.')[0] for name in tta.state_dict()} == {'module'}
