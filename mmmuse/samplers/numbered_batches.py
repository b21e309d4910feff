from collections.abc import Iterator

from torch.utils.data import DataLoader, IterableDataset

from .around_batches import AroundBatches
from .seeding import SeededBatch, seed_generators

_ORDER, _DATA = range(2)  # What is drawn.


class NumberedBatches(AroundBatches):
    """A batch sampler around another one: the draws in a batch depend on its number only.

    They are drawn in the workers of the data loader or, without any, in the main process: both draw
    the same.

    Args:
        loader: The data loader, whose batch sampler is replaced.
        seed: The run's seed; the same in every process.
        rank: Of the process. The order of the images is the same in all, what is drawn for an
            image is not.
    """

    def __init__(self, loader: DataLoader, seed: int, rank: int) -> None:
        super().__init__(loader)
        self.in_workers = loader.num_workers > 0
        self.seed, self.rank = seed, rank
        self.start(0)

    @staticmethod
    def fit(loader: DataLoader) -> bool:
        """Return whether a data loader reads batches of indices."""
        return loader.batch_sampler is not None and not isinstance(loader.dataset, IterableDataset)

    def start(self, epoch: int, number: int = 0, skip: int = 0) -> None:
        """Start an epoch.

        Args:
            epoch: Its number, from 0.
            number: Of the first batch.
            skip: Batches that are left out at the start, without reading them.
        """
        self.epoch, self.number, self.skip, self.passes = epoch, number, skip, 0

    def __iter__(self) -> Iterator[SeededBatch]:
        """Return batches of indices."""
        # Samplers of PyTorch draw the order from the global generator.
        seed_generators(self.seed, _ORDER, self.epoch, self.passes)
        self.passes += 1
        for indices in self.inner:
            words = (self.seed, _DATA, self.rank, self.epoch, self.number)
            self.number += 1
            if self.skip > 0:
                self.skip -= 1
                continue
            if not self.in_workers:
                seed_generators(*words)
            yield SeededBatch(indices, words)
