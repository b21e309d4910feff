"""Small image sets."""

import numpy as np
import pytest

from mmmuse.datasets import BatchedImages

MEAN, STD = [129.3105, 124.1085, 112.404], [68.2125, 65.4075, 70.4055]


@pytest.fixture
def images() -> BatchedImages:
    """90 random images of 3x32x32 pixels in 5 classes."""
    rng = np.random.default_rng(0)
    return BatchedImages(
        rng.integers(1, 256, (90, 3, 32, 32), dtype=np.uint8), np.arange(90) % 5, list('abcde')
    )
