from .adversarial_loss import AdversarialLoss
from .attention_transfer_loss import AttentionTransferLoss
from .discrepancy import Discrepancy, build_discrepancy
from .fitnet_loss import FitNetLoss
from .hint_loss import HintLoss
from .kd_loss import KDLoss
from .mmd_loss import MMDLoss
from .muse_loss import MUSELoss
from .transfer_loss import TransferLoss, build_transfer_loss
from .vid_loss import VIDLoss

__all__ = [
    'AdversarialLoss',
    'AttentionTransferLoss',
    'Discrepancy',
    'FitNetLoss',
    'HintLoss',
    'KDLoss',
    'MMDLoss',
    'MUSELoss',
    'TransferLoss',
    'VIDLoss',
    'build_discrepancy',
    'build_transfer_loss',
]
