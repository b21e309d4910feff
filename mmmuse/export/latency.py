"""How long a network takes, measured."""

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import TypeVar

import torch
from torch import Tensor

Name = TypeVar('Name')


@torch.inference_mode()
def latencies(
    functions: Mapping[Name, Callable[[Tensor], object]], images: Tensor, repeats: int = 30
) -> dict[Name, float]:
    """Time functions of the same images by turns, and return the median of each in milliseconds.

    Turns, so that whatever else the machine does meets all of them alike. The
    first three calls of each are not counted.

    Args:
        functions: Each maps images ``(N, C, H, W)`` to anything.
        images: For every call, on the CPU or a GPU.
        repeats: Calls that are counted.
    """
    times: dict[Name, list[float]] = {name: [] for name in functions}
    for turn in range(repeats + 3):
        for name, function in functions.items():
            start = time.perf_counter()
            function(images)
            if images.is_cuda:
                torch.cuda.synchronize(images.device)
            if turn >= 3:
                times[name].append(1000 * (time.perf_counter() - start))
    return {name: median(measured) for name, measured in times.items()}
