"""Small image sets, and a message hub of the test's own."""

from uuid import uuid4

import numpy as np
import pytest
from mmengine.logging import MessageHub

from mmmuse.datasets import BatchedImages

MEAN, STD = [129.3105, 124.1085, 112.404], [68.2125, 65.4075, 70.4055]


@pytest.fixture
def hub() -> MessageHub:
    """The current message hub, as a runner of many epochs has it; gone after the test."""
    name = f'test_{uuid4().hex}'
    hub = MessageHub.get_instance(name)
    hub.update_info_dict(dict(seed=0, epoch=0, iter=0, max_epochs=200))
    yield hub
    MessageHub._instance_dict.pop(name)


@pytest.fixture
def images() -> BatchedImages:
    """90 random images of 3x32x32 pixels in 5 classes."""
    rng = np.random.default_rng(0)
    return BatchedImages(
        rng.integers(1, 256, (90, 3, 32, 32), dtype=np.uint8), np.arange(90) % 5, list('abcde')
    )
