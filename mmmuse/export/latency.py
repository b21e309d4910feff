"""Measured latency."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from statistics import median
from typing import TypeVar

import torch
from torch import Tensor

Name = TypeVar('Name')


def interleaved_seconds(
    calls: Mapping[Name, Callable[[], object]], repeats: int, warmup: int
) -> dict[Name, float]:
    """Time calls in alternation, and return the median of each in seconds.

    The alternation distributes other load of the machine evenly over the calls.

    Args:
        calls: Each returns after its device has finished.
        repeats: Number of timed calls of each.
        warmup: Number of calls of each before that.
    """
    times: dict[Name, list[float]] = {name: [] for name in calls}
    for turn in range(warmup + repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if turn >= warmup:
                times[name].append(time.perf_counter() - start)
    return {name: median(measured) for name, measured in times.items()}


@torch.inference_mode()
def latencies(
    functions: Mapping[Name, Callable[[Tensor], object]], images: Tensor, repeats: int = 30
) -> dict[Name, float]:
    """Time functions of the same images in alternation; return the medians in milliseconds.

    The first three calls of each are not timed.

    Args:
        functions: Each maps images ``(N, C, H, W)`` to anything.
        images: For every call, on the CPU or a GPU.
        repeats: Number of timed calls of each.
    """

    def call(function: Callable[[Tensor], object]) -> None:
        function(images)
        if images.is_cuda:
            torch.cuda.synchronize(images.device)

    calls = {name: partial(call, function) for name, function in functions.items()}
    seconds = interleaved_seconds(calls, repeats, warmup=3)
    return {name: 1000 * value for name, value in seconds.items()}
