import copy

import numpy as np
import pytest
import torch
from mmengine.optim import OptimWrapper

from mmmuse.datasets import BatchedImages
from mmmuse.errors import InputError

from ..conftest import TAPS, labelled, small_classifier_config
from .rivals import rival


def test_losses_compare_the_two_views():
    distiller = rival('ddgsd', temperature=2.0, kl_weight=0.5, mean_weight=3.0)
    distiller.student.head.fc.weight.data.mul_(20)
    student = copy.deepcopy(distiller.student)
    images, labels = torch.randn(6, 3, 16, 16), [1, 4, 0, 1, 4, 0]
    losses = distiller(images, labelled(labels), mode='loss')
    (vectors,) = student.extract_feat(images)
    logits = student.head((vectors,)).double()
    vectors = vectors.double()
    cross_entropy = kl = 0.0
    for n in range(3):
        for view in (n, n + 3):
            cross_entropy -= 0.5 * logits[view].log_softmax(0)[labels[view]].item() / 3
        p, q = ((logits[view] / 2).softmax(0) for view in (n, n + 3))
        kl += 4 * sum((a - b) * (a.log() - b.log()) for a, b in zip(p, q)).item() / 3
    distance = sum((vectors[:3, c].mean() - vectors[3:, c].mean()).item() ** 2 for c in range(64))
    assert losses['loss_student'].item() == pytest.approx(cross_entropy, rel=1e-4)
    assert losses['loss_view_kl'].item() == pytest.approx(0.5 * kl, rel=1e-3)
    assert losses['loss_view_mean'].item() == pytest.approx(3 * distance, rel=1e-3)


def test_equal_views_cost_nothing():
    losses = rival('ddgsd').eval()(
        torch.randn(2, 3, 16, 16).repeat(2, 1, 1, 1), labelled([0, 1, 0, 1]), mode='loss'
    )
    assert losses['loss_view_kl'].abs() < 1e-6
    assert losses['loss_view_mean'].abs() < 1e-9


def test_one_forward_sees_both_views():
    distiller = rival('ddgsd')
    distiller(torch.randn(4, 3, 16, 16), labelled([0, 1, 0, 1]), mode='loss')
    assert distiller.student.backbone.bn1.num_batches_tracked == 1


def test_the_preprocessor_makes_the_views(hub):
    preprocessor = dict(
        type='mmmuse.BatchedDataPreprocessor',
        mean=[120.0] * 3,
        std=[60.0] * 3,
        crop_padding=2,
        flip_prob=0.5,
        num_views=2,
    )
    distiller = rival(
        'ddgsd', student=dict(small_classifier_config(), data_preprocessor=preprocessor)
    )
    images = np.random.default_rng(0).integers(0, 256, (6, 3, 16, 16), dtype=np.uint8)
    dataset = BatchedImages(images, np.arange(6) % 5, list('abcde'))
    wrapper = OptimWrapper(torch.optim.SGD(distiller.parameters(), lr=0.01))
    log = distiller.train_step(dataset.__getitems__([0, 1, 2]), wrapper)
    assert log['loss_view_kl'] > 0


@pytest.mark.parametrize('labels', [[0, 1, 0], [0, 0, 1, 1], [0]])
def test_a_batch_that_is_no_two_views_is_refused_with_the_way_out(labels):
    images = torch.randn(len(labels), 3, 16, 16)
    with pytest.raises(InputError, match=r'two views of each image.*num_views=2'):
        rival('ddgsd')(images, labelled(labels), mode='loss')


def test_two_views_of_one_image_are_too_few_where_muse_needs_two():
    distiller = rival('ddgsd', muse=True)
    assert distiller.min_batch_size == 2  # As the data set gives them.
    with pytest.raises(InputError, match='at least 2 images, got 1'):
        distiller(torch.randn(2, 3, 16, 16), labelled([0, 0]), mode='loss')


def test_the_last_feature_has_to_be_tapped():
    with pytest.raises(InputError, match=r'taps\.last'):
        rival('ddgsd', taps=dict(logits=TAPS['logits']))
