from .adversarial_loss import AdversarialLoss
from .afd_loss import AFDLoss
from .attention_transfer_loss import AttentionTransferLoss
from .crd_loss import CRDLoss
from .distill_loss import DistillLoss, build_loss
from .dkd_loss import DKDLoss
from .edge import Edge, add_terms
from .feature_loss import FeatureLoss
from .fitnet_loss import FitNetLoss
from .hint_loss import HintLoss
from .kd_loss import KDLoss
from .kdcl_loss import KDCLLoss
from .mmd_loss import MMDLoss
from .muse_loss import INFORMATION_TERM, MUSELoss
from .review_kd_loss import ReviewKDLoss
from .vid_loss import VIDLoss

__all__ = [
    'INFORMATION_TERM',
    'AFDLoss',
    'AdversarialLoss',
    'AttentionTransferLoss',
    'CRDLoss',
    'DKDLoss',
    'DistillLoss',
    'Edge',
    'FeatureLoss',
    'FitNetLoss',
    'HintLoss',
    'KDCLLoss',
    'KDLoss',
    'MMDLoss',
    'MUSELoss',
    'ReviewKDLoss',
    'VIDLoss',
    'add_terms',
    'build_loss',
]
