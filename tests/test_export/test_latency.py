"""Calls are timed in alternation, and the median counts."""

from unittest import mock

import pytest
import torch

from mmmuse.export import latency


class Clock:
    """A clock that stands still but for what the calls add to it."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.order: list[str] = []

    def __call__(self) -> float:
        return self.seconds

    def call(self, name: str, durations: list[float]):
        def take() -> None:
            self.order.append(name)
            self.seconds += durations.pop(0)

        return take


def test_median_without_the_warmup_in_alternation():
    clock = Clock()
    calls = {'a': clock.call('a', [99, 3, 1, 2]), 'b': clock.call('b', [0, 5, 50, 6])}
    shown = []

    def track(turns: list) -> list:
        shown.extend(turns)
        return turns

    assert latency.interleaved_seconds(calls, 3, 1, track, clock) == {'a': 2, 'b': 6}
    assert clock.order == ['a', 'b'] * 4
    assert len(shown) == 8


def test_latencies_are_in_milliseconds_and_of_the_given_images():
    images, seen = torch.zeros(2, 3, 4, 4), []

    def timed(calls, repeats, warmup, track):
        for call in calls.values():
            call()
        return dict.fromkeys(calls, 0.25)

    with mock.patch.object(latency, 'interleaved_seconds', timed):
        measured = latency.latencies({'a': seen.append, 'b': seen.append}, images)
    assert measured == {'a': pytest.approx(250), 'b': pytest.approx(250)}
    assert len(seen) == 2
    assert all(given is images for given in seen)
