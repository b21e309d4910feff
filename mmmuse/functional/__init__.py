"""Pure functions, one formula each: tensors in, tensor out."""

from .adversarial import discriminator_loss
from .anchor_decoding import decode_anchor_boxes
from .anchor_matching import match_anchors
from .attention_transfer import attention_transfer_loss
from .binary_kd import binary_kd_loss
from .crd import crd_loss
from .dkd import dkd_loss
from .donsker_varadhan import donsker_varadhan_loss
from .fast_fusion import fast_normalised_fusion
from .gradient_scale import reverse_gradient, scale_gradient
from .hierarchical_context import hierarchical_context_loss
from .hint import hint_loss
from .infonce import infonce_loss
from .jsd import jsd_critic_loss
from .kd import kd_loss
from .linear_mmd import linear_mmd_loss
from .logmeanexp import logmeanexp
from .mmd import mmd_loss
from .nwj import nwj_loss
from .ramp import sigmoid_ramp
from .symmetric_kl import symmetric_kl
from .vid import vid_loss
from .views import global_view, local_view, map_view, same_grid

__all__ = [
    'attention_transfer_loss',
    'binary_kd_loss',
    'crd_loss',
    'decode_anchor_boxes',
    'discriminator_loss',
    'dkd_loss',
    'donsker_varadhan_loss',
    'fast_normalised_fusion',
    'global_view',
    'hierarchical_context_loss',
    'hint_loss',
    'infonce_loss',
    'jsd_critic_loss',
    'kd_loss',
    'linear_mmd_loss',
    'local_view',
    'logmeanexp',
    'map_view',
    'match_anchors',
    'mmd_loss',
    'nwj_loss',
    'reverse_gradient',
    'same_grid',
    'scale_gradient',
    'sigmoid_ramp',
    'symmetric_kl',
    'vid_loss',
]
