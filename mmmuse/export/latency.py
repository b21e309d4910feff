"""Measured latency."""

import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from statistics import median
from typing import TypeVar

import torch
from torch import Tensor

Name = TypeVar('Name')
# Iterates over a list, and may show its progress.
Track = Callable[[list], Iterable]


def interleaved_seconds(
    calls: Mapping[Name, Callable[[], object]],
    repeats: int,
    warmup: int,
    track: Track = iter,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[Name, float]:
    """Time calls in alternation, and return the median of each in seconds.

    The alternation distributes other load of the machine evenly over the calls.

    Args:
        calls: Each returns after its device has finished.
        repeats: Number of timed calls of each.
        warmup: Number of calls of each before that.
        track: Iterates over all calls.
        clock: Of the time; ``time.process_time`` for the CPU seconds of all threads.
    """
    times: dict[Name, list[float]] = {name: [] for name in calls}
    turns = [(turn, name) for turn in range(warmup + repeats) for name in calls]
    for turn, name in track(turns):
        start = clock()
        calls[name]()
        if turn >= warmup:
            times[name].append(clock() - start)
    return {name: median(measured) for name, measured in times.items()}


@torch.inference_mode()
def latencies(
    functions: Mapping[Name, Callable[[Tensor], object]],
    images: Tensor,
    repeats: int = 30,
    warmup: int = 3,
    track: Track = iter,
) -> dict[Name, float]:
    """Time functions of the same images in alternation; return the medians in milliseconds.

    Args:
        functions: Each maps images ``(N, C, H, W)`` to anything.
        images: For every call, on the CPU or a GPU.
        repeats: Number of timed calls of each.
        warmup: Number of calls of each before that.
        track: Iterates over all calls, and may show its progress.
    """

    def call(function: Callable[[Tensor], object]) -> None:
        function(images)
        if images.is_cuda:
            torch.cuda.synchronize(images.device)

    calls = {name: partial(call, function) for name, function in functions.items()}
    seconds = interleaved_seconds(calls, repeats, warmup, track)
    return {name: 1000 * value for name, value in seconds.items()}
