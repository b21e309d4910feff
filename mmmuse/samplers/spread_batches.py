from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from torch.utils.data import DataLoader


class SpreadBatches:
    """A batch sampler around another one: two views of one image are not next to each other in a batch.

    A batch has the images that it had before, in another order. A batch without repeated images keeps its
    order. The other attributes are those of the sampler inside.

    Args:
        loader: The data loader, whose batch sampler is replaced.
    """

    def __init__(self, loader: DataLoader) -> None:
        self.inner = loader.batch_sampler
        # DataLoader refuses another sampler by its own __setattr__.
        object.__setattr__(loader, 'batch_sampler', self)

    def __iter__(self) -> Iterator[Sequence[int]]:
        """Return batches of indices."""
        return map(spread, self.inner)

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        return len(self.inner)

    def __getattr__(self, name: str) -> Any:
        if name == 'inner':  # While it is unpickled, in a worker that is not forked.
            raise AttributeError(name)
        return getattr(self.inner, name)


def spread(indices: Sequence[int]) -> Sequence[int]:
    """Return the indices in an order in which equal ones are not neighbours.

    The first and the last one count as neighbours. Equal ones stay neighbours only where one index is
    more than half of all. Indices without repetition keep their order.
    """
    try:
        counts = Counter(indices)
    except TypeError:  # A sampler of the user, whose indices have no hash.
        return indices
    if len(counts) == len(indices):
        return indices
    # The most frequent first, on every second place, and then on the places between.
    ordered = [index for index, count in counts.most_common() for _ in range(count)]
    places = [*range(0, len(ordered), 2), *range(1, len(ordered), 2)]
    arranged = [0] * len(ordered)
    for place, index in zip(places, ordered, strict=True):
        arranged[place] = index
    return arranged
