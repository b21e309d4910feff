from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from mmengine.evaluator import BaseMetric
from torch import Tensor

from mmmuse.arguments import PositiveInt
from mmmuse.errors import InputError
from mmmuse.registry import METRICS

_ROWS = 1024  # Images compared with all others at once.


@METRICS.register_module()
class NearestNeighbourAccuracy(BaseMetric):
    """How often the nearest other images by a student's features have an image's class: ``knn/top1``.

    In percent. The class of an image is predicted by its k nearest other images; each vote has the weight
    1 + cosine similarity. No classifier is trained, so that it measures a
    ``FeatureDistiller`` where the evaluated set has labels; the training set needs none.

    Args:
        k: Number of neighbours.
        collect_device: Device on which results of several processes are gathered.
        prefix: Of the name; none by default.

    Raises:
        InputError: In an evaluation, if an image has not one label, or there are no more than k.
    """

    default_prefix = ''

    def __init__(
        self,
        k: PositiveInt = 10,
        collect_device: Literal['cpu', 'gpu'] = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.k = k

    def process(self, data_batch: object, data_samples: Sequence[dict]) -> None:
        """Store the feature and the label of each sample."""
        for sample in data_samples:
            label = sample.get('gt_label')
            if 'feature' not in sample or label is None or label.numel() != 1:
                raise InputError(
                    'NearestNeighbourAccuracy needs the features of an mmmuse.FeatureDistiller, and one '
                    'class label (gt_label) for each image; without labels take mmmuse.FeatureLossMetric'
                )
            self.results.append((sample['feature'].cpu(), int(label)))

    def compute_metrics(self, results: list[tuple[Tensor, int]]) -> dict[str, float]:
        """Return the share of images whose neighbours vote for their class."""
        if len(results) <= self.k:
            raise InputError(
                f'NearestNeighbourAccuracy: {len(results)} images have no {self.k} neighbours each; set k'
            )
        features = F.normalize(torch.stack([feature for feature, _ in results]).float(), dim=1)
        labels = torch.tensor([label for _, label in results])
        hits = 0
        for start in range(0, len(features), _ROWS):
            similarity = features[start : start + _ROWS] @ features.T
            similarity.diagonal(start).fill_(-torch.inf)  # An image is not its own neighbour.
            weights, neighbours = similarity.topk(self.k, dim=1)
            votes = torch.zeros(len(similarity), int(labels.max()) + 1)
            votes.scatter_add_(1, labels[neighbours], weights + 1)  # From 0 to 2.
            hits += int((votes.argmax(1) == labels[start : start + _ROWS]).sum())
        return {'knn/top1': 100 * hits / len(results)}
