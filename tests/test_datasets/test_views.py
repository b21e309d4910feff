import numpy as np
import pytest
import torch

from mmmuse.datasets import BatchedDataPreprocessor
from mmmuse.errors import InputError

from .conftest import MEAN, STD


def preprocessor(num_views: int, **options) -> BatchedDataPreprocessor:
    return BatchedDataPreprocessor(
        mean=MEAN, std=STD, crop_padding=4, flip_prob=0.5, num_views=num_views, **options
    )


def labels_of(data: dict) -> list[int]:
    return [sample.gt_label.item() for sample in data['data_samples']]


def test_views_stand_one_behind_the_other_with_their_labels(hub, images):
    batch = images.__getitems__([3, 1, 4])
    data = preprocessor(2)(batch, training=True)
    assert data['inputs'].shape == (6, 3, 32, 32)
    assert labels_of(data) == [3, 1, 4, 3, 1, 4]


def test_the_first_views_are_those_that_are_drawn_with_fewer(hub, images):
    batch = images.__getitems__(range(90))
    one, two, three = (preprocessor(n)(batch, training=True)['inputs'] for n in (1, 2, 3))
    assert torch.equal(two[:90], one)
    assert torch.equal(three[:180], two)


def test_views_of_an_image_are_drawn_independently(hub, images):
    inputs = preprocessor(2)(images.__getitems__(range(90)), training=True)['inputs']
    same = np.mean([torch.equal(a, b) for a, b in zip(inputs[:90], inputs[90:])])
    assert same < 0.1  # 1 of 162 crops and flips on average.


def test_a_view_depends_on_seed_epoch_and_image_alone(hub, images):
    views = preprocessor(2)
    whole = views(images.__getitems__(range(90)), training=True)['inputs'].view(2, 90, 3, 32, 32)
    part = views(images.__getitems__([7, 5]), training=True)['inputs'].view(2, 2, 3, 32, 32)
    assert torch.equal(part, whole[:, [7, 5]])
    hub.update_info('epoch', 1)
    other = views(images.__getitems__(range(90)), training=True)['inputs'].view(2, 90, 3, 32, 32)
    assert not torch.equal(other[1], whole[1])


def test_one_hot_labels_are_repeated_too(hub, images):
    data = preprocessor(2, num_classes=5, to_onehot=True)(images.__getitems__([3, 1]), True)
    assert [sample.gt_score.argmax().item() for sample in data['data_samples']] == [3, 1, 3, 1]


def test_testing_has_one_view(images):
    data = preprocessor(2)(images.__getitems__([3, 1]), training=False)
    assert len(data['inputs']) == len(data['data_samples']) == 2


@pytest.mark.parametrize('options', [dict(num_views=0, flip_prob=0.5), dict(num_views=2)])
def test_views_that_cannot_be_or_cannot_differ_are_refused(options):
    with pytest.raises(InputError, match='num_views'):
        BatchedDataPreprocessor(**options)


def test_data_sets_that_give_single_images_are_refused():
    with pytest.raises(InputError, match='num_views=2 needs a data set of batched images'):
        preprocessor(2)(dict(inputs=[torch.zeros(3, 8, 8)], data_samples=[]), training=True)
