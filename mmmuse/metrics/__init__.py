from .exit_accuracy import ExitAccuracy
from .exit_metric import ExitMetric
from .peer_metric import PeerMetric

__all__ = ['ExitAccuracy', 'ExitMetric', 'PeerMetric']
