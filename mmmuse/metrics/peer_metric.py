from collections.abc import Sequence
from copy import deepcopy
from numbers import Real
from typing import Any, NoReturn

from mmengine.dist import all_gather_object
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.structures import BaseDataElement

from mmmuse.errors import InputError
from mmmuse.registry import METRICS

_AVERAGE = 'average'


@METRICS.register_module()
class PeerMetric(BaseMetric):
    """The metrics of several networks (peers) that are trained together, and their average.

    Each sample has a field ``peers``: a dict of each peer's prediction by the peer's
    name, as a dict or a data element. What a prediction leaves out of the ground truth
    (fields ``gt_...``) is the sample's own. Reported are first
    ``average/accuracy/top1``, ..., the mean of each number that all peers have, then
    ``a/accuracy/top1``, ... of each peer, by name.

    Samples without ``peers``, those of a single network, give the metrics under their
    own names and no average.

    In several processes each metric gathers its own results, as it does by itself; one
    that has seen no sample takes part with none.

    Args:
        metric: Config of one metric, or of several, that each peer gets anew, e.g.
            ``dict(type='Accuracy', topk=(1, 5))``.

    Raises:
        InputError: If a peer is named ``average``.
    """

    default_prefix = ''

    def __init__(self, metric: dict | Sequence[dict]) -> None:
        super().__init__()
        self.metric = [metric] if isinstance(metric, dict) else list(metric)
        self._evaluators: dict[str | None, Evaluator] = {}
        self._build()  # A bad config is known at once, not after an epoch.

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Give each peer's metrics that peer's samples."""
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
            raise InputError(f'a peer cannot be named {_AVERAGE!r}: that is where the mean stands')
        for name, samples in of_peer.items():
            self._evaluator(name).process(samples, data_batch)

    def evaluate(self, size: int) -> dict[str, Any]:
        """Return the average and each peer's metrics, and begin anew.

        Args:
            size: Samples of the whole data set; what the last batches were padded with
                is dropped.
        """
        # The same names in the same order in every process, or their gatherings would not meet.
        seen = all_gather_object(list(self._evaluators))
        # Data elements keep their fields in no order of their own.
        names = sorted({name for of_process in seen for name in of_process}, key=str)
        metrics = {name: self._evaluator(name).evaluate(size) for name in names}
        self._evaluators.clear()
        plain = metrics.pop(None, {})
        own = {f'{name}/{k}': v for name, of_peer in metrics.items() for k, v in of_peer.items()}
        return {**_average(list(metrics.values())), **own, **plain}

    def compute_metrics(self, results: list) -> NoReturn:
        """Do nothing: the peers' metrics compute."""
        raise NotImplementedError('PeerMetric keeps no results of its own')

    def _evaluator(self, name: str | None) -> Evaluator:
        if name not in self._evaluators:
            self._evaluators[name] = self._build()
        return self._evaluators[name]

    def _build(self) -> Evaluator:
        evaluator = Evaluator(deepcopy(self.metric))
        evaluator.dataset_meta = self.dataset_meta
        return evaluator


def _average(peers: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return the mean of each number that all peers have."""
    if not peers:
        return {}
    return {
        f'{_AVERAGE}/{name}': sum(peer[name] for peer in peers) / len(peers)
        for name in peers[0]
        if all(isinstance(peer.get(name), Real) for peer in peers)
    }
