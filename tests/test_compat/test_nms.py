import mmcv.ops
import numpy as np
import pytest
import torch


def some_boxes(seed: int, count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    corners = random.uniform(0, 30, (count, 2))
    boxes = np.concatenate([corners, corners + random.uniform(1, 20, (count, 2))], axis=1)
    return boxes, random.permutation(count) / count


def overlap(one: np.ndarray, other: np.ndarray, offset: int) -> float:
    def size(x1, y1, x2, y2):
        return max(0, x2 - x1 + offset) * max(0, y2 - y1 + offset)

    both = size(*np.maximum(one[:2], other[:2]), *np.minimum(one[2:], other[2:]))
    return both / (size(*one) + size(*other) - both)


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('seed', range(4))
def test_nms_is_the_greedy_choice(seed, offset):
    boxes, scores = some_boxes(seed)
    kept = []
    for candidate in np.argsort(-scores):
        if all(overlap(boxes[candidate], boxes[better], offset) <= 0.3 for better in kept):
            kept.append(candidate)
    dets, indices = mmcv.ops.nms(boxes, scores, 0.3, offset)
    assert 3 < len(kept) < len(boxes)
    assert indices.tolist() == kept
    np.testing.assert_array_equal(dets, np.column_stack([boxes, scores])[kept])


def test_offset_counts_the_last_pixel():
    # Widths 2 and 2 with an overlap of 1: 1/3; widths 3 and 3 with an overlap of 2: 1/2.
    boxes = torch.tensor([[0.0, 0.0, 2.0, 9.0], [1.0, 0.0, 3.0, 9.0]])
    scores = torch.tensor([0.4, 0.6])
    assert mmcv.ops.nms(boxes, scores, 0.4, offset=0)[1].tolist() == [1, 0]
    assert mmcv.ops.nms(boxes, scores, 0.4, offset=1)[1].tolist() == [1]


def test_nms_takes_nothing_and_half_precision():
    assert len(mmcv.ops.nms(torch.zeros(0, 4), torch.zeros(0), 0.5)[1]) == 0
    boxes = torch.tensor([[0, 0, 4, 4], [0, 0, 4, 5], [9, 9, 12, 12]])
    scores = torch.tensor([0.5, 0.75, 0.25])
    assert mmcv.ops.nms(boxes.half(), scores.half(), 0.5)[1].tolist() == [1, 2]


def soft_weight(method: str, overlap: float) -> float:
    if method == 'gaussian':
        return np.exp(-(overlap**2) / 0.5)
    return 1.0 if overlap < 0.3 else {'naive': 0.0, 'linear': 1 - overlap}[method]


@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('method', ['naive', 'linear', 'gaussian'])
def test_soft_nms_lowers_the_scores_of_what_overlaps(method, offset):
    boxes, scores = some_boxes(5)
    left, kept, kept_scores = dict(enumerate(scores)), [], []
    while left:
        best = max(left, key=left.get)
        kept.append(best)
        kept_scores.append(left.pop(best))
        for index in list(left):
            left[index] *= soft_weight(method, overlap(boxes[index], boxes[best], offset))
            if left[index] < 0.1:
                del left[index]
    dets, indices = mmcv.ops.soft_nms(
        boxes, scores, 0.3, sigma=0.5, min_score=0.1, method=method, offset=offset
    )
    assert 3 < len(kept) < len(boxes)
    assert indices.tolist() == kept
    np.testing.assert_allclose(dets, np.column_stack([boxes[kept], kept_scores]))


def test_soft_nms_takes_half_precision():
    # Two of three boxes overlap by half: the worse one's score is halved, a step of float32.
    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 2.0], [9.0, 9.0, 12.0, 12.0]])
    scores = torch.tensor([0.75, 0.5, 0.125])
    dets, indices = mmcv.ops.soft_nms(boxes.bfloat16(), scores.bfloat16(), method='linear')
    assert dets.dtype == torch.bfloat16
    assert indices.tolist() == [0, 1, 2]
    assert dets[:, 4].tolist() == [0.75, 0.25, 0.125]


@pytest.mark.parametrize('seed', range(4))
def test_nms_match_lists_what_each_choice_suppresses(seed):
    boxes, scores = some_boxes(seed)
    matched = {}
    for candidate in np.argsort(-scores).tolist():
        better = (kept for kept in matched if overlap(boxes[candidate], boxes[kept], 0) >= 0.3)
        matched.setdefault(next(better, candidate), []).append(candidate)
    found = mmcv.ops.nms_match(np.column_stack([boxes, scores]), 0.3)
    assert 3 < len(matched) < len(boxes)
    assert [group.tolist() for group in found] == list(matched.values())


def test_nms_match_suppresses_at_the_threshold_where_nms_does_not():
    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 2.0]])  # They overlap by 1/2.
    scores = torch.tensor([0.25, 0.5])
    found = mmcv.ops.nms_match(torch.column_stack([boxes, scores]).half(), 0.5)
    assert [group.tolist() for group in found] == [[1, 0]]
    assert mmcv.ops.nms(boxes, scores, 0.5)[1].tolist() == [1, 0]


def test_nms_match_of_nothing_is_nothing():
    assert mmcv.ops.nms_match(torch.zeros(0, 5), 0.5) == []
