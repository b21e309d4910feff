import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmmuse.datasets import BatchedImages
from mmmuse.errors import InputError

CONFIG = Path(__file__).resolve().parents[2] / 'configs/_base_/datasets/cifar100.py'


def numbered_images(num_images: int) -> np.ndarray:
    """Images of 1x2x2 pixels that hold their own number."""
    return np.broadcast_to(
        np.arange(num_images, dtype=np.uint8)[:, None, None, None], (num_images, 1, 2, 2)
    )


def build_loader(dataset: BatchedImages, split: str = 'train', **changes):
    """Build the config's DataLoader as MMEngine's runner does."""
    loader = Config.fromfile(CONFIG)[f'{split}_dataloader']
    return Runner.build_dataloader({**loader, 'dataset': dataset, **changes}, seed=0)


def read_indices(loader) -> list[int]:
    return [index for batch in loader for index in batch['sample_idx'].tolist()]


def test_labels_are_given_under_mmpretrains_name():
    dataset = BatchedImages(numbered_images(4), np.array([0, 1, 2, 0]), 'abc', indices=[3, 1])
    assert dataset.get_gt_labels().tolist() == [0, 1]


def test_a_batch_holds_the_asked_images_in_the_asked_order():
    dataset = BatchedImages(numbered_images(4), np.array([0, 1, 2, 0]), ['a', 'b', 'c'])
    batch = dataset.__getitems__([3, 1, 3])
    assert batch['inputs'].tolist() == [[[[3, 3], [3, 3]]], [[[1, 1], [1, 1]]], [[[3, 3], [3, 3]]]]
    assert batch['inputs'].dtype == torch.uint8
    assert batch['gt_label'].tolist() == [0, 1, 0]
    assert batch['sample_idx'].tolist() == [3, 1, 3]
    assert batch['num_samples'] == 4


def test_one_image_is_a_batch_of_one():
    dataset = BatchedImages(numbered_images(4), np.array([0, 1, 2, 0]), ['a', 'b', 'c'])
    assert dataset[2]['inputs'].tolist() == [[[[2, 2], [2, 2]]]]
    assert dataset[2]['gt_label'].tolist() == [2]


def test_writing_into_a_batch_does_not_change_the_dataset():
    dataset = BatchedImages(numbered_images(4), np.zeros(4, int), ['a'])
    dataset.__getitems__([1])['inputs'].zero_()
    assert dataset[1]['inputs'].unique().tolist() == [1]


@pytest.mark.parametrize(
    ('indices', 'kept'),
    [
        (2, [0, 1]),
        (-2, [3, 4]),
        (9, [0, 1, 2, 3, 4]),
        ([4, 0, 0], [4, 0, 0]),
        ((-1, 1), [4, 1]),
    ],
)
def test_indices_keep_the_images_that_mmengine_would_keep(indices, kept):
    dataset = BatchedImages(numbered_images(5), np.arange(5), list('abcde'), indices=indices)
    assert dataset.images[:, 0, 0, 0].tolist() == kept
    assert dataset.labels.tolist() == kept
    assert len(dataset) == len(kept)


@pytest.mark.parametrize(
    ('indices', 'message'),
    [
        (0, 'has no images'),
        ([], 'has no images'),
        ([0, 5], 'indices are from 0 to 5, for 5 images'),
        ([-6], 'indices are from -6 to -6, for 5 images'),
    ],
)
def test_indices_that_leave_no_image_or_point_outside_are_refused(indices, message):
    with pytest.raises(InputError, match=message):
        BatchedImages(numbered_images(5), np.arange(5), list('abcde'), indices=indices)


@pytest.mark.parametrize(
    ('images', 'labels', 'message'),
    [
        (np.zeros((2, 3, 4, 4), np.float32), [0, 0], r'got float32 \(2, 3, 4, 4\)'),
        (np.zeros((2, 4, 4), np.uint8), [0, 0], r'got uint8 \(2, 4, 4\)'),
        (np.zeros((2, 3, 4, 4), np.uint8), [0, 0, 0], r'labels \(3,\)'),
        (np.zeros((2, 3, 4, 4), np.uint8), [[0], [0]], r'labels \(2, 1\)'),
        (np.zeros((2, 3, 4, 4), np.uint8), [0, 2], 'integers from 0 to 1, got int64 from 0 to 2'),
        (np.zeros((2, 3, 4, 4), np.uint8), [-1, 0], 'integers from 0 to 1, got int64 from -1 to 0'),
        (np.zeros((2, 3, 4, 4), np.uint8), [0.5, 1.0], 'got float64'),
        (np.zeros((0, 3, 4, 4), np.uint8), [], 'has no images'),
    ],
)
def test_arrays_that_do_not_fit_are_refused_with_what_was_given(images, labels, message):
    with pytest.raises(InputError, match=message):
        BatchedImages(images, np.array(labels), ['a', 'b'])


@pytest.mark.slow
@pytest.mark.parametrize('num_workers', [0, 2])
def test_every_image_appears_once_per_epoch_in_another_order(num_workers):
    dataset = BatchedImages(numbered_images(90), np.arange(90), list(map(str, range(90))))
    loader = build_loader(dataset, batch_size=16, num_workers=num_workers)
    first = read_indices(loader)
    loader.sampler.set_epoch(1)
    second = read_indices(loader)
    assert sorted(first) == sorted(second) == list(range(90))
    assert first != second
    assert [len(batch['inputs']) for batch in loader] == [16, 16, 16, 16, 16, 10]


@pytest.mark.slow
@pytest.mark.parametrize('num_workers', [0, 2])
def test_image_label_and_index_stay_together_on_their_way_through_workers(num_workers):
    dataset = BatchedImages(numbered_images(90), np.arange(90), list(map(str, range(90))))
    for batch in build_loader(dataset, batch_size=16, num_workers=num_workers):
        assert type(batch['inputs']) is torch.Tensor
        assert torch.equal(batch['inputs'][:, 0, 0, 0].long(), batch['sample_idx'])
        assert torch.equal(batch['gt_label'], batch['sample_idx'])
        batch['inputs'].add_(1)  # Writable, as tensors are.


@pytest.mark.slow
def test_a_workers_batch_is_its_indices_and_the_images_are_those_of_the_reader():
    dataset = BatchedImages(numbered_images(90), np.zeros(90, int), ['a'])
    loader = build_loader(dataset, batch_size=90, num_workers=1)
    batches = iter(loader)
    # The worker has been forked with the old ones.
    loader.dataset.images = numbered_images(91)[1:]
    batch = next(batches)
    assert torch.equal(batch['inputs'][:, 0, 0, 0].long(), batch['sample_idx'] + 1)


def brighten(batch: dict) -> dict:
    batch['inputs'] += 100
    return batch


def replace(batch: dict) -> dict:
    batch['gt_label'] = batch['gt_label'] + 1
    return batch


def extend(batch: dict) -> dict:
    return {**batch, 'weight': torch.ones(len(batch['gt_label']))}


@pytest.mark.slow
@pytest.mark.parametrize('collate', [brighten, replace, extend])
def test_what_a_worker_changed_arrives_changed(collate):
    dataset = BatchedImages(numbered_images(90), np.zeros(90, int), ['a'])
    (found,) = build_loader(dataset, batch_size=90, num_workers=1, collate_fn=collate)
    (expected,) = build_loader(dataset, batch_size=90, num_workers=0, collate_fn=collate)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(torch.as_tensor(found[name]), torch.as_tensor(value)), name


@pytest.mark.slow
def test_a_copy_of_a_dataset_reads_its_own_images():
    dataset = BatchedImages(numbered_images(90), np.zeros(90, int), ['a'])
    copied = copy.deepcopy(dataset)
    copied.images = numbered_images(91)[1:]
    (batch,) = build_loader(copied, batch_size=90, num_workers=1)
    assert torch.equal(batch['inputs'][:, 0, 0, 0].long(), batch['sample_idx'] + 1)


def test_the_validation_loader_keeps_the_order():
    dataset = BatchedImages(numbered_images(90), np.zeros(90, int), ['a'])
    assert read_indices(build_loader(dataset, 'val', batch_size=40)) == list(range(90))


def test_the_shards_of_two_processes_are_disjoint_and_cover(monkeypatch):
    dataset = BatchedImages(numbered_images(90), np.zeros(90, int), ['a'])
    shards = []
    for rank in range(2):
        monkeypatch.setattr('mmengine.dataset.sampler.get_dist_info', lambda rank=rank: (rank, 2))
        shards.append(read_indices(build_loader(dataset, batch_size=16)))
    assert len(shards[0]) == len(shards[1]) == 45
    assert sorted(shards[0] + shards[1]) == list(range(90))
