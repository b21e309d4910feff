from .exit_accuracy import ExitAccuracy
from .peer_metric import PeerMetric

__all__ = ['ExitAccuracy', 'PeerMetric']
