import math
from collections.abc import Iterator, Sized

import numpy as np
import torch
from mmengine.dist import get_dist_info, sync_random_seed
from torch import Tensor
from torch.utils.data import Sampler

from mmmuse.arguments import Seed
from mmmuse.errors import InputError
from mmmuse.registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class ClassPairSampler(Sampler):
    """Draw pairs of images of one class: each image, followed by another of its class.

    An epoch is twice as long as the data set: every image is once the first of a
    pair, and its partner is drawn uniformly from the others of its class. An even
    batch size keeps pairs together. All processes draw the same pairs, from
    (seed, epoch), and each process uses its share of them.

    Args:
        dataset: A data set with mmpretrain's ``get_gt_labels()``.
        shuffle: Whether the first images of the pairs are in random order. The
            partners are drawn in any case.
        seed: The same in every process; None draws one.
        round_up: Whether the first pairs are repeated so that every process has the same number.

    Raises:
        InputError: If the data set does not return one integer label for each image, or a
            class has only one image.

    Source: the sampling of CS-KD (Yun et al., CVPR 2020), section 3.1. That an
    image is not its own partner is assumed.
    """

    def __init__(
        self,
        dataset: Sized,
        shuffle: bool = True,
        seed: Seed | None = None,
        round_up: bool = True,
    ) -> None:
        self.rank, self.world_size = get_dist_info()
        self.dataset = dataset
        self.shuffle = shuffle
        self.seed = sync_random_seed() if seed is None else seed
        self.epoch = 0
        self.round_up = round_up
        self.partners = _Partners(_class_labels(dataset), _class_names(dataset))

    def __iter__(self) -> Iterator[int]:
        """Return the indices, pair by pair."""
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        size = len(self.dataset)
        firsts = torch.randperm(size, generator=generator) if self.shuffle else torch.arange(size)
        pairs = torch.stack([firsts, self.partners.draw(generator)[firsts]], 1)
        if self.round_up:
            pairs = pairs[torch.arange(self._num_pairs * self.world_size) % size]
        return iter(pairs[self.rank :: self.world_size].flatten().tolist())

    @property
    def _num_pairs(self) -> int:
        left = 0 if self.round_up else self.rank
        return math.ceil((len(self.dataset) - left) / self.world_size)

    def __len__(self) -> int:
        """Return the number of indices of this process, twice its number of pairs."""
        return 2 * self._num_pairs

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which with the seed determines all draws."""
        self.epoch = epoch


class _Partners:
    """Draws for each image another one of its class."""

    def __init__(self, labels: Tensor, names: dict[int, str]) -> None:
        classes, group, sizes = labels.unique(return_inverse=True, return_counts=True)
        if (sizes == 1).any():
            single = classes[sizes == 1][0].item()
            raise InputError(
                f'class {names.get(single, single)} has a single image, and a pair needs two of a '
                'class: remove it from the data set or add images'
            )
        self._by_class = group.argsort(stable=True)
        self._first = (sizes.cumsum(0) - sizes)[group]
        self._size = sizes[group]
        self._place = torch.empty_like(group)
        self._place[self._by_class] = torch.arange(len(group))
        self._place -= self._first

    def draw(self, generator: torch.Generator) -> Tensor:
        """Return the index of each image's partner, ``(M, )``."""
        draws = torch.rand(len(self._size), generator=generator, dtype=torch.float64)
        steps = (
            1 + (draws * (self._size - 1)).long()
        )  # From the image's own position, cyclically in the class.
        return self._by_class[self._first + (self._place + steps) % self._size]


def _class_labels(dataset: Sized) -> Tensor:
    if not hasattr(dataset, 'get_gt_labels'):
        raise InputError(
            f'ClassPairSampler needs a data set with get_gt_labels(), such as those of mmpretrain and '
            f'mmmuse; {type(dataset).__name__} has none'
        )
    try:
        labels = np.asarray(dataset.get_gt_labels())
    except ValueError:  # NumPy's, for lists of different lengths.
        labels = np.empty(0)
    if labels.shape != (len(dataset),) or labels.dtype.kind not in 'iu':
        raise InputError(
            f'ClassPairSampler needs one integer label for each of {len(dataset)} images, and '
            f'get_gt_labels() of {type(dataset).__name__} does not return them'
        )
    return torch.from_numpy(labels.astype(np.int64))


def _class_names(dataset: Sized) -> dict[int, str]:
    metainfo = getattr(dataset, 'metainfo', None) or {}
    return {i: f'{i} ({name})' for i, name in enumerate(metainfo.get('classes') or ())}
