from collections import Counter
from collections.abc import Iterator, Sequence

from .around_batches import AroundBatches


class SpreadBatches(AroundBatches):
    """A batch sampler around another one: two views of one image are not next to each other in a batch.

    A batch has the images that it had before, in another order. A batch without repeated images keeps its
    order.

    Args:
        loader: The data loader, whose batch sampler is replaced.
    """

    def __iter__(self) -> Iterator[Sequence[int]]:
        """Return batches of indices."""
        return map(spread, self.inner)


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
