"""Random generators whose draws depend on given numbers only."""

import random
from collections.abc import Iterable

import numpy as np
import torch
from mmengine.device import get_device


def seed_generators(*words: int, on_device: bool = True) -> None:
    """Seed the generators of Python, NumPy and PyTorch from several numbers.

    Numbers that differ give unrelated draws (NumPy's ``SeedSequence``).

    Args:
        *words: Integers from 0.
        on_device: Whether to seed the generator of the accelerator as well; not in the worker of a
            data loader.
    """
    # With their count, since SeedSequence ignores zeros at the end.
    state = np.random.SeedSequence((len(words), *words)).generate_state(6)
    random.seed(int.from_bytes(state[:2].tobytes(), 'little'))
    np.random.seed(state[2:4])
    # 63 bits; torch.manual_seed would also queue calls for every accelerator that is not used.
    seed = int.from_bytes(state[4:].tobytes(), 'little') >> 1
    torch.default_generator.manual_seed(seed)
    device = get_device() if on_device else 'cpu'
    if device != 'cpu':
        getattr(torch, device).manual_seed(seed)


class SeededBatch(list):
    """The indices of a batch, whose arrival in a data loader's worker seeds its generators."""

    def __init__(self, indices: Iterable, words: tuple[int, ...]) -> None:
        super().__init__(indices)
        self.words = words

    def __reduce__(self) -> tuple:
        # A worker unpickles the indices of a batch directly before it reads the batch.
        return _arrive, (list(self), self.words)


def _arrive(indices: list, words: tuple[int, ...]) -> list:
    seed_generators(*words, on_device=False)
    return indices
