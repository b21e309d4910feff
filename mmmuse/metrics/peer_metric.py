from collections.abc import Sequence
from numbers import Real
from typing import Any

from mmengine.structures import BaseDataElement

from mmmuse.errors import InputError
from mmmuse.registry import METRICS

from .metrics_by_name import MetricsByName

_AVERAGE = 'average'


@METRICS.register_module()
class PeerMetric(MetricsByName):
    """The metrics of several networks (peers) that are trained together, and their average.

    Each sample has a field ``peers``: a dict of predictions, dicts or data elements, by the peer's
    name. Ground truth (fields ``gt_...``) that a prediction lacks is that of the sample. The metrics
    are ``average/accuracy/top1``, ..., the mean of each number that all peers have, then
    ``a/accuracy/top1``, ... of each peer.

    For samples without ``peers``, those of a single network, the metrics have no prefix and no
    average.

    Args:
        metric: Config of one metric, or of several, e.g. ``dict(type='Accuracy', topk=(1, 5))``.

    Raises:
        InputError: If a peer is named ``average``.
    """

    def samples_by_name(self, data_samples: Sequence[dict]) -> dict[str | None, list[dict]]:
        """Return each peer's samples, with the ground truth."""
        of_peer: dict[str | None, list[dict]] = {}
        for sample in data_samples:
            if 'peers' not in sample:
                of_peer.setdefault(None, []).append(sample)
                continue
            truth = {key: value for key, value in sample.items() if key.startswith('gt_')}
            for name, prediction in sample['peers'].items():
                if isinstance(prediction, BaseDataElement):
                    prediction = prediction.to_dict()
                of_peer.setdefault(name, []).append({**truth, **prediction})
        if _AVERAGE in of_peer:
            raise InputError(
                f'a peer cannot be named {_AVERAGE!r}: the mean is reported under that name'
            )
        return of_peer

    def combine(self, metrics: dict[str | None, dict[str, Any]]) -> dict[str, Any]:
        """Return the mean of each number that all peers have, then all metrics."""
        peers = [of_peer for name, of_peer in metrics.items() if name is not None]
        average = {
            f'{_AVERAGE}/{key}': sum(of_peer[key] for of_peer in peers) / len(peers)
            for key in (peers[0] if peers else ())
            if all(isinstance(of_peer.get(key), Real) for of_peer in peers)
        }
        return {**average, **super().combine(metrics)}
