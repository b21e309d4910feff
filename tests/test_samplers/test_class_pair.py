from collections import Counter
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmengine.dataset import ConcatDataset
from mmengine.registry import DATA_SAMPLERS
from mmengine.runner import Runner
from mmpretrain.datasets import CustomDataset, KFoldDataset

from mmmuse.datasets import BatchedImages
from mmmuse.errors import InputError
from mmmuse.samplers import ClassPairSampler


def labelled_images(labels) -> BatchedImages:
    images = np.zeros((len(labels), 1, 2, 2), dtype=np.uint8)
    return BatchedImages(images, np.array(labels), [f'class {i}' for i in range(max(labels) + 1)])


def sampler(labels, rank: int = 0, world_size: int = 1, **options) -> ClassPairSampler:
    with patch('mmmuse.samplers.class_pair.get_dist_info', lambda: (rank, world_size)):
        return ClassPairSampler(labelled_images(labels), **{'seed': 0, **options})


def pairs(sampler: ClassPairSampler) -> list[tuple[int, int]]:
    indices = list(sampler)
    assert len(indices) == len(sampler)
    return list(zip(indices[::2], indices[1::2]))


# Labels 0 to at most 4, each at least twice, in any order.
LABELS = st.lists(st.integers(2, 5), min_size=1, max_size=5).flatmap(
    lambda counts: st.permutations([i for i, count in enumerate(counts) for _ in range(count)])
)


@given(LABELS, st.integers(0, 9), st.booleans())
def test_every_image_is_once_the_first_of_a_pair_with_another_of_its_class(labels, epoch, shuffle):
    drawn = sampler(labels, shuffle=shuffle)
    drawn.set_epoch(epoch)
    found = pairs(drawn)
    firsts = [first for first, _ in found]
    assert sorted(firsts) == list(range(len(labels)))
    assert shuffle or firsts == list(range(len(labels)))
    assert all(first != second and labels[first] == labels[second] for first, second in found)


@given(LABELS, st.integers(1, 4), st.integers(0, 9))
def test_processes_share_the_pairs_of_one(labels, world_size, epoch):
    def drawn(rank: int, processes: int, **options) -> list[tuple[int, int]]:
        shared = sampler(labels, rank, processes, **options)
        shared.set_epoch(epoch)
        return pairs(shared)

    whole = drawn(0, 1)
    shares = [drawn(rank, world_size) for rank in range(world_size)]
    assert {len(share) for share in shares} == {-(-len(labels) // world_size)}
    in_order = [pair for turn in zip(*shares) for pair in turn]
    assert in_order[: len(whole)] == whole
    assert set(in_order) == set(whole)
    exact = [drawn(rank, world_size, round_up=False) for rank in range(world_size)]
    assert Counter(pair for share in exact for pair in share) == Counter(whole)


def test_a_draw_is_that_of_its_seed_and_epoch():
    labels = [i % 4 for i in range(40)]
    first, second = sampler(labels), sampler(labels)
    assert pairs(first) == pairs(first) == pairs(second)
    second.set_epoch(1)
    assert pairs(first) != pairs(second)
    assert pairs(first) != pairs(sampler(labels, seed=1))


def test_the_global_random_state_neither_changes_nor_is_changed():
    torch.manual_seed(0)
    first, draw = pairs(sampler([0, 0, 1, 1, 1])), torch.rand(1)
    torch.manual_seed(0)
    assert torch.rand(1) == draw
    assert pairs(sampler([0, 0, 1, 1, 1])) == first


def test_every_other_image_of_the_class_is_as_likely_a_partner():
    drawn = sampler([0, 1, 0, 0, 1, 0, 0])
    partners = Counter()
    for epoch in range(2000):
        drawn.set_epoch(epoch)
        partners[dict(pairs(drawn))[2]] += 1
    assert set(partners) == {0, 3, 5, 6}
    # 500 each, standard deviation 19.
    assert all(abs(count - 500) < 100 for count in partners.values())


def test_mmengine_builds_it_and_batches_keep_the_pairs():
    loader = Runner.build_dataloader(
        dict(
            dataset=labelled_images([0, 1, 2] * 4),
            batch_size=8,
            num_workers=0,
            sampler=dict(type='mmmuse.ClassPairSampler'),
            collate_fn=dict(type='mmmuse.keep_batch'),
        ),
        seed=0,
    )
    assert isinstance(loader.sampler, ClassPairSampler)
    assert DATA_SAMPLERS.get('mmmuse.ClassPairSampler') is ClassPairSampler
    batches = list(loader)
    assert [len(batch['gt_label']) for batch in batches] == [8, 8, 8]
    for batch in batches:
        assert torch.equal(batch['gt_label'][::2], batch['gt_label'][1::2])


def test_a_class_with_one_image_is_named():
    with pytest.raises(InputError, match=r'^class 1 \(class 1\) has a single image'):
        sampler([0, 0, 1, 2, 2])


def test_mmpretrains_data_sets_give_their_labels(tmp_path):
    for name in ('a/1', 'a/2', 'b/3', 'b/4'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f'{name}.jpg').touch()
    dataset = CustomDataset(data_root=str(tmp_path))
    assert pairs(ClassPairSampler(dataset, shuffle=False, seed=0)) == [
        (0, 1),
        (1, 0),
        (2, 3),
        (3, 2),
    ]


class Labels:
    """A data set of labels without images."""

    def __init__(self, labels, size: int | None = None) -> None:
        self.labels = labels
        self.size = len(labels) if size is None else size

    def __len__(self) -> int:
        return self.size

    def get_gt_labels(self):
        return self.labels


@pytest.mark.parametrize(
    'dataset',
    [
        Labels([[0], [0, 1]]),
        Labels([[0, 1], [0, 1]]),
        Labels([0.0, 0.0]),
        Labels(['a', 'a']),
        Labels([0, 0, 0, 0], size=2),
    ],
)
def test_labels_that_are_not_one_integer_for_each_image_are_refused(dataset):
    with pytest.raises(InputError, match=f'one integer label for each of {len(dataset)} images'):
        ClassPairSampler(dataset, seed=0)


def test_a_data_set_without_labels_is_refused():
    class Nameless:
        def __len__(self) -> int:
            return 2

    with pytest.raises(InputError, match='Nameless has none'):
        ClassPairSampler(Nameless(), seed=0)


def test_a_wrapper_is_taken_if_it_gives_labels_and_refused_if_not(tmp_path):
    for name in ('a/1', 'a/2', 'a/3'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f'{name}.jpg').touch()
    dataset = dict(type='mmpretrain.CustomDataset', data_root=str(tmp_path))
    fold = KFoldDataset(dataset, fold=0, num_splits=3, seed=0)
    assert pairs(ClassPairSampler(fold, shuffle=False, seed=0)) == [(0, 1), (1, 0)]
    with pytest.raises(InputError, match='ConcatDataset has none'):
        ClassPairSampler(ConcatDataset([dataset, dataset]), seed=0)
