from .exit_accuracy import ExitAccuracy
from .exit_metric import ExitMetric
from .exit_shares import ExitShares
from .feature_loss_metric import FeatureLossMetric
from .nearest_neighbour_accuracy import NearestNeighbourAccuracy
from .peer_metric import PeerMetric

__all__ = [
    'ExitAccuracy',
    'ExitMetric',
    'ExitShares',
    'FeatureLossMetric',
    'NearestNeighbourAccuracy',
    'PeerMetric',
]
