from collections import Counter

import pytest
import torch
from mmpretrain.structures import DataSample

from mmmuse.errors import InputError
from mmmuse.metrics import FeatureLossMetric, NearestNeighbourAccuracy


def samples(features: torch.Tensor, labels: torch.Tensor) -> list[dict]:
    return [
        DataSample(feature=feature).set_gt_label(label).to_dict()
        for feature, label in zip(features, labels, strict=True)
    ]


def evaluate(metric, *batches: list[dict]) -> dict[str, float]:
    for batch in batches:
        metric.process(None, batch)
    return metric.evaluate(sum(map(len, batches)))


def slow(features: torch.Tensor, labels: torch.Tensor, k: int) -> float:
    """The definition, one image at a time."""
    hits = 0
    for i, own in enumerate(features):
        similar = [
            (torch.cosine_similarity(own, other, dim=0).item(), labels[j].item())
            for j, other in enumerate(features)
            if j != i
        ]
        votes = Counter()
        for similarity, label in sorted(similar, reverse=True)[:k]:
            votes[label] += similarity + 1
        hits += votes.most_common(1)[0][0] == labels[i]
    return 100 * hits / len(features)


@pytest.mark.parametrize('k', [1, 3, 7])
def test_it_is_the_definition(k, monkeypatch):
    monkeypatch.setattr('mmmuse.metrics.nearest_neighbour_accuracy._ROWS', 8)  # Several blocks.
    labels = torch.arange(30) % 3
    features = torch.randn(30, 4) + 2 * torch.eye(4)[labels]
    found = evaluate(
        NearestNeighbourAccuracy(k),
        samples(features[:20], labels[:20]),
        samples(features[20:], labels[20:]),
    )
    expected = slow(features, labels, k)
    assert found == {'knn/top1': pytest.approx(expected)}
    assert 40 < expected < 100


def test_images_without_a_label_are_refused():
    unlabelled = DataSample(feature=torch.ones(2)).to_dict()
    with pytest.raises(InputError, match=r'one class label .* take mmmuse.FeatureLossMetric'):
        evaluate(NearestNeighbourAccuracy(1), [unlabelled])
    with pytest.raises(InputError, match='2 images have no 2 neighbours each; set k'):
        evaluate(NearestNeighbourAccuracy(2), samples(torch.ones(2, 2), torch.arange(2)))


def test_the_feature_loss_is_the_mean_over_images():
    def of_batch(loss: float, size: int) -> list[dict]:
        return [DataSample(feature_loss=torch.tensor(loss)).to_dict() for _ in range(size)]

    found = evaluate(FeatureLossMetric(), of_batch(1.0, 3), of_batch(2.0, 1))
    assert found == {'feature_loss': 1.25}
    with pytest.raises(InputError, match=r'evaluates an mmmuse\.FeatureDistiller'):
        evaluate(FeatureLossMetric(), [DataSample().to_dict()])
