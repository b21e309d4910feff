import random

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler

from mmmuse.samplers.numbered_batches import NumberedBatches
from mmmuse.samplers.seeding import seed_generators


class Drawn(Dataset):
    """Each image is what three generators draw when it is read."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.tensor([index, random.random(), np.random.rand(), torch.rand(()).item()])


def loader(workers: int = 0, rank: int = 0, **options) -> tuple[DataLoader, NumberedBatches]:
    made = DataLoader(
        Drawn(),
        batch_size=4,
        num_workers=workers,
        **{**dict(sampler=RandomSampler(range(10))), **options},
    )
    return made, NumberedBatches(made, seed=3, rank=rank)


def epoch(made: DataLoader, numbered: NumberedBatches, number: int, skip: int = 0) -> list:
    numbered.start(number, skip=skip)
    return list(made)


def assert_same(found: list, expected: list) -> None:
    assert len(found) == len(expected)
    assert all(torch.equal(*pair) for pair in zip(found, expected))


@pytest.fixture(scope='module')
def two_epochs() -> list[list]:
    made = loader()
    return [epoch(*made, 0), epoch(*made, 1)]


@pytest.mark.slow
@pytest.mark.parametrize('options', [{}, dict(persistent_workers=True, prefetch_factor=3)])
@pytest.mark.parametrize('workers', [1, 2])
def test_workers_draw_what_the_main_process_draws(two_epochs, workers, options):
    made = loader(workers, **options)
    for number in (0, 1):
        assert_same(epoch(*made, number), two_epochs[number])


def test_a_new_loader_draws_the_second_epoch_whatever_was_drawn_before(two_epochs):
    seed_generators(99)
    assert_same(epoch(*loader(), 1), two_epochs[1])


@pytest.mark.slow
def test_a_new_loader_continues_within_an_epoch(two_epochs):
    assert_same(epoch(*loader(), 1, skip=2), two_epochs[1][2:])
    assert_same(epoch(*loader(2), 1, skip=1), two_epochs[1][1:])


def test_epochs_and_batches_draw_differently(two_epochs):
    drawn = torch.cat([batch[:, 1:] for batches in two_epochs for batch in batches]).flatten()
    assert len(drawn.unique()) == len(drawn) == 60
    assert not torch.equal(two_epochs[0][0][:, 0], two_epochs[1][0][:, 0])


def test_processes_read_in_the_same_order_and_draw_differently(two_epochs):
    other = epoch(*loader(rank=1), 0)
    for one, two in zip(two_epochs[0], other):
        assert torch.equal(one[:, 0], two[:, 0])
        assert not torch.isin(one[:, 1:].flatten(), two[:, 1:].flatten()).any()


def test_the_attributes_are_those_of_the_sampler_inside():
    made, numbered = loader()
    assert made.batch_sampler is numbered
    assert len(made) == len(numbered) == 3
    assert (numbered.batch_size, numbered.drop_last) == (4, False)
    assert numbered.sampler is made.sampler


class Endless(IterableDataset):
    def __iter__(self):
        return iter(range(3))


def test_a_loader_without_indices_is_left_alone():
    assert NumberedBatches.fit(loader()[0])
    assert not NumberedBatches.fit(DataLoader(Endless(), batch_size=2))
    assert not NumberedBatches.fit(DataLoader(Drawn(), batch_size=None))


def test_seeds_differ_with_every_number_and_seed_all_generators():
    drawn = set()
    for words in [(0, 1), (1, 0), (1,), (1, 1), (2**63, 0)]:
        values = []
        for _ in range(2):
            seed_generators(*words)
            values.append((random.random(), np.random.rand(), torch.rand(()).item()))
        assert values[0] == values[1]
        drawn.update(values[0])
    assert len(drawn) == 15
