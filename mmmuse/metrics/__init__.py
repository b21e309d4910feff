from .exit_accuracy import ExitAccuracy
from .exit_metric import ExitMetric
from .exit_shares import ExitShares
from .peer_metric import PeerMetric

__all__ = ['ExitAccuracy', 'ExitMetric', 'ExitShares', 'PeerMetric']
