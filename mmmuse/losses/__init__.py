from .discrepancy import Discrepancy
from .hint_loss import HintLoss
from .kd_loss import KDLoss
from .muse_loss import MUSELoss

__all__ = ['Discrepancy', 'HintLoss', 'KDLoss', 'MUSELoss']
