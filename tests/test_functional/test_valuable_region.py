"""The valuable region and ATSS's thresholds against slow references, box by box in float64."""

import math
import statistics

import pytest
import torch

from mmmuse.errors import InputError
from mmmuse.functional import adaptive_thresholds, valuable_region


def boxes(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, generator=generator) * 40
    return torch.cat([corners, corners + 5 + 20 * torch.rand(count, 2, generator=generator)], 1)


def overlap(a: list[float], b: list[float]) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(x[2] - x[0]) * (x[3] - x[1]) for x in (a, b)]
    return width * height / (sum(areas) - width * height)


def centre(a: list[float]) -> tuple[float, float]:
    return (a[0] + a[2]) / 2, (a[1] + a[3]) / 2


def diou(a: list[float], b: list[float]) -> float:
    first = min(a[0], b[0]), min(a[1], b[1])
    last = max(a[2], b[2]), max(a[3], b[3])
    between = math.dist(centre(a), centre(b)) ** 2
    return overlap(a, b) - between / math.dist(first, last) ** 2


@pytest.mark.parametrize('gamma', [0.0, 0.25, 0.8])
def test_the_region_is_that_of_the_slow_reference(gamma):
    anchors, objects = boxes(200, 0), boxes(4, 1)
    thresholds = torch.tensor([0.2, 0.4, 0.6, 0.3])
    expected = [
        any(
            gamma * threshold <= diou(anchor, each) <= threshold
            for each, threshold in zip(objects.double().tolist(), thresholds.tolist())
        )
        for anchor in anchors.double().tolist()
    ]
    found = valuable_region(anchors, objects, thresholds, gamma)
    assert found.tolist() == expected
    assert 0 < sum(expected) < 200


def test_a_smaller_gamma_is_a_larger_region():
    anchors, objects, thresholds = boxes(200, 0), boxes(2, 1), torch.tensor([0.5, 0.5])
    larger, smaller = (valuable_region(anchors, objects, thresholds, at) for at in (0.1, 0.4))
    assert smaller.sum() < larger.sum()
    assert torch.equal(smaller & larger, smaller)


def test_the_thresholds_are_those_of_the_slow_reference():
    levels, objects = [boxes(30, 0), boxes(12, 2), boxes(3, 3)], boxes(3, 1)
    expected = []
    for each in objects.double().tolist():
        overlaps = []
        for level in levels:
            near = sorted(level.double().tolist(), key=lambda a: math.dist(centre(a), centre(each)))
            overlaps += [overlap(anchor, each) for anchor in near[:5]]
        expected.append(statistics.mean(overlaps) + statistics.stdev(overlaps))
    found = adaptive_thresholds(levels, objects, topk=5)
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-5, atol=1e-6)


def test_the_closest_anchors_are_found_far_from_the_origin():
    torch.manual_seed(0)
    corners = 1300 + 20 * torch.rand(300, 2)
    anchors = torch.cat([corners, corners + 10 + 30 * torch.rand(300, 2)], 1)
    objects = anchors[::6] + torch.tensor([3.0, 2.0, 3.0, 2.0])
    expected = []
    for each in objects.double().tolist():
        near = sorted(anchors.double().tolist(), key=lambda a: math.dist(centre(a), centre(each)))
        overlaps = [overlap(anchor, each) for anchor in near[:2]]
        expected.append(statistics.mean(overlaps) + statistics.stdev(overlaps))
    found = adaptive_thresholds([anchors], objects, topk=2)
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-3, atol=1e-4)


def test_without_objects_there_is_no_region():
    assert not valuable_region(boxes(5, 0), torch.zeros(0, 4), torch.zeros(0)).any()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (
            (torch.zeros(5, 3), torch.zeros(1, 4), torch.zeros(1)),
            r'needs boxes \(P, 4\), got \(5, 3\)',
        ),
        (
            (torch.zeros(5, 4), torch.zeros(2, 4), torch.zeros(1)),
            'a threshold for each of 2 objects',
        ),
        ((torch.zeros(5, 4), torch.zeros(1, 4), torch.zeros(1), 2.0), 'gamma from 0 to 1, got 2.0'),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        valuable_region(*arguments)
