import numpy as np
import pytest
from sklearn.datasets import load_digits

from mmmuse.datasets import BatchedDigits
from mmmuse.errors import InputError
from mmmuse.registry import DATASETS


def test_the_two_splits_hold_every_digit_once():
    train, test = BatchedDigits('train'), BatchedDigits('test')
    assert (len(train), len(test)) == (1347, 450)
    assert train.images.shape[1:] == (1, 8, 8)
    both = np.concatenate([train.images, test.images]).reshape(1797, 64)
    labels = np.concatenate([train.labels, test.labels])
    ours = sorted(map(bytes, np.column_stack([both, labels]).astype(np.uint8)))
    source = load_digits()
    expected = np.column_stack([source.data * 15, source.target]).astype(np.uint8)
    assert ours == sorted(map(bytes, expected))
    assert both.max() == 240


def test_each_class_is_split_in_the_same_proportion():
    counts = np.bincount(load_digits().target)
    test = np.bincount(BatchedDigits('test').labels)
    assert np.abs(test - counts * 450 / 1797).max() < 1
    assert BatchedDigits('test').metainfo['classes'] == tuple('0123456789')


def test_the_split_is_the_same_every_time():
    assert np.array_equal(BatchedDigits('train').images, BatchedDigits('train').images)


def test_a_config_builds_a_part_of_it():
    dataset = DATASETS.build(dict(type='mmmuse.BatchedDigits', split='test', indices=[3, 1]))
    assert np.array_equal(dataset.images, BatchedDigits('test').images[[3, 1]])


def test_another_split_is_refused():
    with pytest.raises(InputError, match="split is 'train' or 'test', got 'val'"):
        BatchedDigits('val')
