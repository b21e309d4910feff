from .adversarial_loss import AdversarialLoss
from .afd_loss import AFDLoss
from .attention_transfer_loss import AttentionTransferLoss
from .crd_loss import CRDLoss
from .discrepancy import Discrepancy, build_discrepancy
from .dkd_loss import DKDLoss
from .fitnet_loss import FitNetLoss
from .hint_loss import HintLoss
from .kd_loss import KDLoss
from .kdcl_loss import KDCLLoss
from .mmd_loss import MMDLoss
from .muse_loss import INFORMATION_TERM, MUSELoss
from .review_kd_loss import ReviewKDLoss
from .transfer_loss import TransferLoss, build_transfer_loss
from .vid_loss import VIDLoss

__all__ = [
    'INFORMATION_TERM',
    'AFDLoss',
    'AdversarialLoss',
    'AttentionTransferLoss',
    'CRDLoss',
    'DKDLoss',
    'Discrepancy',
    'FitNetLoss',
    'HintLoss',
    'KDCLLoss',
    'KDLoss',
    'MMDLoss',
    'MUSELoss',
    'ReviewKDLoss',
    'TransferLoss',
    'VIDLoss',
    'build_discrepancy',
    'build_transfer_loss',
]
