"""What reads one class for each image refuses images that Mixup or CutMix has mixed."""

import sys

import pytest
import torch
from mmpretrain.models.utils import ClsDataPreprocessor
from mmpretrain.structures import DataSample

from mmmuse.errors import InputError
from mmmuse.losses import DistillLoss, class_labels, refuse_mixed_labels

from ..conftest import labelled
from ..test_distillers import transfer
from ..test_distillers.rivals import rival

NUM_CLASSES = 5
MIXUP, CUTMIX = (dict(type=kind, alpha=1.0) for kind in ('Mixup', 'CutMix'))


def with_scores(labels, augment: dict | None = None) -> tuple[torch.Tensor, list[DataSample]]:
    """Images of 16x16 pixels as mmpretrain's preprocessor gives them, with one-hot labels or mixed."""
    samples = labelled(labels)
    for i, sample in enumerate(samples):
        sample.set_metainfo(dict(sample_idx=i))
    options = dict(to_onehot=True) if augment is None else dict(batch_augments=augment)
    preprocessor = ClsDataPreprocessor(num_classes=NUM_CLASSES, **options)
    torch.manual_seed(0)
    data = dict(inputs=torch.rand(len(labels), 3, 16, 16), data_samples=samples)
    data = preprocessor(data, training=True)
    for sample in data['data_samples']:
        sample.set_gt_score(sample.gt_score.float())  # Without augments mmpretrain leaves integers.
    return data['inputs'], data['data_samples']


def scored(label, score) -> list[DataSample]:
    return [DataSample().set_gt_label(label).set_gt_score(torch.tensor(score))]


def test_labels_come_in_the_order_of_the_images():
    assert class_labels(labelled([3, 0, 4]), 'X').tolist() == [3, 0, 4]


def test_one_hot_scores_change_nothing():
    assert class_labels(with_scores([3, 0, 4])[1], 'X').tolist() == [3, 0, 4]


@pytest.mark.parametrize('augment', [MIXUP, CUTMIX], ids=['Mixup', 'CutMix'])
def test_a_mixed_batch_is_refused_with_its_reader_and_a_remedy(augment):
    with pytest.raises(InputError) as error:
        class_labels(with_scores([3, 0, 4, 1], dict(augments=[augment]))[1], 'SomeLoss')
    message = str(error.value)
    assert message.startswith('SomeLoss needs images of one class')
    assert 'data_preprocessor.batch_augments' in message
    assert '\n' not in message


@pytest.mark.parametrize(
    ('label', 'score'),
    [
        (1, [0.0, 0.9, 0.1]),
        (1, [0.05, 0.9, 0.05]),
        (1, [0.0, 1.0, 1.0]),
        (1, [0.0, 0.0, 0.0]),
        (1, [0.0, float('nan'), 0.0]),
        (1, [1.0, 0.0, 0.0]),
    ],
    ids=['mixed', 'smoothed', 'several classes', 'no class', 'NaN', 'of another class'],
)
def test_a_score_that_is_not_one_hot_at_the_label_is_refused(label, score):
    with pytest.raises(InputError, match='not 1 for its label and 0 for other classes'):
        refuse_mixed_labels([*labelled([0]), *scored(label, score)], 'X')


@pytest.mark.parametrize('label', [[0, 2], []], ids=['two labels', 'none'])
def test_an_image_of_several_labels_or_none_is_refused(label):
    samples = [*labelled([1]), DataSample().set_gt_label(torch.tensor(label, dtype=torch.long))]
    with pytest.raises(InputError, match='X needs one class label'):
        class_labels(samples, 'X')


def mixed(labels=(0, 1, 2, 3)) -> tuple[torch.Tensor, list[DataSample]]:
    return with_scores(list(labels), dict(augments=[MIXUP]))


@pytest.mark.parametrize('loss', [dict(type='mmmuse.DKDLoss'), transfer.CRD])
@pytest.mark.parametrize('build', [transfer.offline, transfer.online])
def test_losses_on_hard_labels_refuse_mixed_images(build, loss):
    distiller = build(loss)
    distiller(*with_scores([0, 1, 2, 3]), mode='loss')
    with pytest.raises(InputError, match=loss['type'].removeprefix('mmmuse.')):
        distiller(*mixed(), mode='loss')


def test_a_loss_of_a_user_that_says_it_reads_labels_refuses_mixed_images():
    class OfAUser(DistillLoss):
        reads = frozenset({'labels'})

        def __init__(self, learner, source):
            super().__init__(learner, source, loss_weight=1.0)

        def forward(self, step):
            return {'loss_of_a_user': step.learner.logits.sum()}

    distiller = transfer.offline(dict(type=OfAUser))
    distiller(*with_scores([0, 1, 2, 3]), mode='loss')
    with pytest.raises(InputError, match='OfAUser needs images of one class'):
        distiller(*mixed(), mode='loss')


@pytest.mark.parametrize(
    ('name', 'labels'), [('cs_kd', [0, 0, 3, 3]), ('ddgsd', [0, 3, 0, 3])], ids=['cs_kd', 'ddgsd']
)
def test_rivals_that_pair_images_refuse_mixed_ones_in_any_batch(name, labels):
    distiller = rival(name)
    distiller(*with_scores(labels), mode='loss')
    with pytest.raises(InputError, match='needs images of one class'):
        distiller(*mixed(labels), mode='loss')


@pytest.mark.parametrize(
    ('build', 'labels'),
    [
        (lambda: transfer.offline(dict(type='mmmuse.DKDLoss'), transfer.CRD), [0, 1, 2, 3]),
        (lambda: transfer.online(dict(type='mmmuse.DKDLoss'), transfer.CRD), [0, 1, 2, 3]),
        (lambda: transfer.offline(dict(type='mmmuse.KDLoss')), None),
        (lambda: rival('cs_kd'), [0, 0, 3, 3]),
        (lambda: rival('ddgsd'), [0, 3, 0, 3]),
    ],
    ids=['offline', 'online', 'no labels', 'cs_kd', 'ddgsd'],
)
def test_a_batch_is_looked_at_once_if_labels_are_read(build, labels, monkeypatch):
    distiller, looks = build(), []
    module = sys.modules['mmmuse.losses.class_labels']
    one_hot = module._one_hot
    monkeypatch.setattr(module, '_one_hot', lambda count: looks.append(count) or one_hot(count))
    batch = mixed() if labels is None else with_scores(labels)
    for _ in range(2):
        distiller(*batch, mode='loss')
    assert len(looks) == (0 if labels is None else 2)


def test_peers_with_views_of_their_own_refuse_mixed_ones():
    distiller = transfer.online(dict(type='mmmuse.KDLoss'), own_views=True)
    images, samples = with_scores([0, 1, 0, 1])
    for i, sample in enumerate(samples):
        sample.set_metainfo(dict(sample_idx=i % 2))
    distiller(images, samples, mode='loss')
    for sample, of_mixed in zip(samples, mixed([0, 1, 0, 1])[1]):
        sample.set_gt_score(of_mixed.gt_score)
    with pytest.raises(InputError, match='own_views'):
        distiller(images, samples, mode='loss')


@pytest.mark.parametrize('loss', [dict(type='mmmuse.KDLoss'), transfer.MUSE])
def test_losses_without_labels_take_mixed_images(loss):
    losses = transfer.offline(loss)(*mixed(), mode='loss')
    assert all(value.isfinite() for value in losses.values())


@pytest.mark.parametrize('name', ['one', 'frskd'])
def test_rivals_that_read_the_scores_take_mixed_images(name):
    losses = rival(name)(*mixed(), mode='loss')
    assert all(value.isfinite() for value in losses.values())
