"""The accuracy of a run's networks and exits in each evaluation, read from its logs."""

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from mmmuse.errors import InputError

from .information import read_curves

Points = dict[int, float]
_EXIT = re.compile(r'(?:(?P<peer>[^/]+)/)?exit(?P<number>\d{1,4})/(?P<metric>.+)')
_AVERAGE = 'average/'
_PREFERRED = (
    *('accuracy/top1', 'coco/bbox_mAP', 'pascal_voc/mAP', 'multi-label/mAP', 'mIoU'),
    'knn/top1',
)
_TITLES = {
    'accuracy/top1': 'top-1 accuracy',
    'coco/bbox_mAP': 'box mAP',
    'coco/bbox_mAP_50': 'box mAP@0.5',
}
_OF_CLASSIFIER = re.compile(r'(average/)?((accuracy|single-label|multi-label)/|([^/]+/)*top\d+$)')
_OF_SEGMENTER = re.compile(
    r'(average/)?((aAcc|m(IoU|Acc|Dice|Fscore|Precision|Recall))$'
    r'|(IoU|Acc|Dice|Fscore|Precision|Recall)/)'
)
_SHARE = re.compile(r'(average/)?(coco|pascal_voc|openimages|lvis)/\w*(mAP|AR)')
_MOST = 100  # Networks and exits, each of which is a curve.
_NO_METRIC = {'time', 'data_time', 'memory', 'step', 'iter', 'epoch', 'lr', 'base_lr'}


class NetworkEvaluations(NamedTuple):
    """The evaluations of one network.

    Attributes:
        full: Of the full network, by epoch (by step in a run without epochs).
        exits: Of each exit by its number. The full network of a classifier is the last one as well.
        last_is_full: Whether the last exit can be the full network: those of detectors and segmenters
            are exits.
    """

    full: Points
    exits: dict[int, Points]
    last_is_full: bool

    @property
    def full_number(self) -> int | None:
        """Number of the full network among the exits; None where it is not logged as an exit.

        It is the last exit, if the two have the same value in every evaluation.
        """
        last = max(self.exits, default=None)
        if not self.last_is_full or last is None or self.exits[last].keys() != self.full.keys():
            return None
        # One is rounded to float32.
        same = all(math.isclose(v, self.exits[last][k], abs_tol=1e-4) for k, v in self.full.items())
        return last if same else None

    @property
    def shallow_exits(self) -> dict[int, Points]:
        """The exits without the full network."""
        full = self.full_number
        return {number: points for number, points in self.exits.items() if number != full}


class Evaluations(NamedTuple):
    """The evaluations of a run.

    Attributes:
        metric: Name of the metric, ``'accuracy/top1'``; None if nothing was evaluated.
        networks: By the peer's name; None is the network of a run that names none.
    """

    metric: str | None
    networks: dict[str | None, NetworkEvaluations]

    @property
    def title(self) -> str:
        """What the metric is called in words, if it is a usual one."""
        return metric_title(self.metric or 'accuracy')

    @property
    def unit(self) -> str:
        """Unit of the metric: percent, or a share between 0 and 1; empty if it is not known."""
        factor = None if self.metric is None else percent_factor(self.metric)
        return {1: '%', 100: '0 to 1', None: ''}[factor]

    @property
    def title_with_unit(self) -> str:
        """The title, and the unit in brackets if it is known."""
        return f'{self.title} ({self.unit})' if self.unit else self.title

    @property
    def lower_is_better(self) -> bool:
        """Whether the metric is a loss."""
        return _is_loss(self.metric or '')

    @property
    def last(self) -> int | None:
        """The last evaluation's epoch or step."""
        return max(self._logged(), default=None)

    def steps(self) -> list[int]:
        """Return the epochs or steps of all evaluations."""
        return sorted(set(self._logged()))

    def _logged(self) -> Iterable[int]:
        for network in self.networks.values():
            for points in (network.full, *network.exits.values()):
                yield from points


def percent_factor(metric: str) -> int | None:
    """Return the factor that brings a metric to percent: 1, or 100 of mmdet's average precisions; None if it is not known.

    Example:
        >>> percent_factor('mIoU'), percent_factor('coco/bbox_mAP'), percent_factor('coco_panoptic/PQ')
        (1, 100, None)
    """
    if is_percent(metric):
        return 1
    return 100 if _SHARE.match(metric) else None


def metric_title(metric: str) -> str:
    """Return what a metric is called in words, if it is a usual one; otherwise its name.

    Example:
        >>> metric_title('average/accuracy/top1'), metric_title('mIoU')
        ('top-1 accuracy', 'mIoU')
    """
    name = metric.removeprefix(_AVERAGE)
    return _TITLES.get(name, name)


def is_percent(metric: str | None) -> bool:
    """Return whether a metric is in percent, as those of mmpretrain and mmseg are, or a share.

    Example:
        >>> is_percent('accuracy/top1'), is_percent('mIoU'), is_percent('coco/bbox_mAP')
        (True, True, False)
    """
    return metric is not None and any(
        pattern.match(metric) for pattern in (_OF_CLASSIFIER, _OF_SEGMENTER)
    )


def read_evaluations(work_dir: Path) -> Evaluations:
    """Read the evaluations of a run, in the metric by which it is judged.

    It is top-1 accuracy or mAP where the run has it, otherwise the first metric by name that is not a loss.

    Args:
        work_dir: As for :func:`mmmuse.analysis.information.read_information`.

    Raises:
        InputError: If the folder holds no log, or a damaged one, or one of more than 100 exits.
    """
    logged = read_curves(work_dir, _metrics_of)
    shared = [name.removeprefix(_AVERAGE) for name in logged if name.startswith(_AVERAGE)]
    own = shared or [name for name in logged if not _EXIT.fullmatch(name)]
    own = [name for name in own if not _is_loss(name)] or own
    metric = next((name for name in _PREFERRED if name in own), min(own, default=None))
    if metric is None:
        return Evaluations(None, {})
    peers = peers_of(logged, _AVERAGE + metric)
    networks = {peer: network_evaluations(logged, metric, peer) for peer in peers or [None]}
    count = sum(1 + len(network.exits) for network in networks.values())
    if count > _MOST:
        raise InputError(f'the log in {work_dir} has {count} networks and exits; at most {_MOST}')
    return Evaluations(metric, networks)


def network_evaluations(
    logged: Mapping[str, Points], metric: str, peer: str | None = None
) -> NetworkEvaluations:
    """Return the evaluations of one network, and of the exits that the log names as its own.

    Args:
        logged: Each metric by its name: ``exit1/top1`` is that of an exit, of ``accuracy/top1``. An exit may
            have the whole name, ``exit1/mIoU``; a peer's are ``a/accuracy/top1`` and ``a/exit1/top1``.
        metric: Of the full network.
        peer: The network's name, if it has one.
    """
    name = metric if peer is None else f'{peer}/{metric}'
    # A classifier's exits have a short name, or the whole one of a metric of classifiers.
    short = any(match['metric'] != metric for match in map(_EXIT.fullmatch, logged) if match)
    last_is_full = short or _OF_CLASSIFIER.match(metric) is not None
    return NetworkEvaluations(logged.get(name, {}), _exits(logged, peer, metric), last_is_full)


def peers_of(logged: Mapping[str, Points], metric: str) -> dict[str, Points]:
    """Return the evaluations of each peer by its name; none if the log has no mean over peers.

    Args:
        logged: Each metric by its name: ``a/accuracy/top1`` is that of a peer.
        metric: The mean, ``average/accuracy/top1``.

    Example:
        >>> logged = {'average/top1': {1: 15.0}, 'a/top1': {1: 10.0}, 'b/top1': {1: 20.0}}
        >>> peers_of(logged, 'average/top1')
        {'a': {1: 10.0}, 'b': {1: 20.0}}
    """
    if metric not in logged or not metric.startswith(_AVERAGE):
        return {}
    peer = re.compile(f'([^/]+)/{re.escape(metric.removeprefix(_AVERAGE))}')
    matches = [peer.fullmatch(name) for name in logged if not _EXIT.fullmatch(name)]
    return {match[1]: logged[match[0]] for match in matches if match and match[0] != metric}


def _is_loss(metric: str) -> bool:
    return metric.endswith('loss')


def _exits(logged: Mapping[str, Points], peer: str | None, metric: str) -> dict[int, Points]:
    """Return the curves of a network's exits: ``exit1/top1`` belongs to ``accuracy/top1``."""
    found = {}
    for name, points in logged.items():
        match = _EXIT.fullmatch(name)
        if match and match['peer'] == peer and f'/{metric}'.endswith(f'/{match["metric"]}'):
            found[int(match['number'])] = points
    return dict(sorted(found.items()))


def _metrics_of(record: dict) -> dict[str, float]:
    """Return the metrics of an evaluation's line; values that are not numbers are left out."""
    if 'iter' in record:  # A line of training.
        return {}
    return {
        name: value
        for name, value in record.items()
        if name not in _NO_METRIC
        and not name.startswith('information/')
        and type(value) in (int, float)
    }
