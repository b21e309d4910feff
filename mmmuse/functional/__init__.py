"""Pure functions, one formula each: tensors in, tensor out."""

from .adversarial import discriminator_loss
from .alignment import alignment_loss
from .anchor_decoding import decode_anchor_boxes
from .anchor_matching import match_anchors
from .attention_transfer import attention_transfer_loss
from .binary_kd import binary_kd_loss
from .crd import crd_loss
from .cwd import cwd_loss
from .dist import dist_loss
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
from .localisation_distillation import localisation_distillation_loss
from .logmeanexp import logmeanexp
from .mgd import masked_locations, mgd_loss
from .mmd import mmd_loss
from .nwj import nwj_loss
from .pkd import pkd_loss
from .quality_focal import quality_focal_distance
from .ramp import sigmoid_ramp
from .standardized_logits import standardized_logits
from .symmetric_kl import symmetric_kl
from .valuable_region import adaptive_thresholds, valuable_region
from .vid import vid_loss
from .views import global_view, local_view, map_view, same_grid

__all__ = [
    'adaptive_thresholds',
    'alignment_loss',
    'attention_transfer_loss',
    'binary_kd_loss',
    'crd_loss',
    'cwd_loss',
    'decode_anchor_boxes',
    'discriminator_loss',
    'dist_loss',
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
    'localisation_distillation_loss',
    'logmeanexp',
    'map_view',
    'masked_locations',
    'match_anchors',
    'mgd_loss',
    'mmd_loss',
    'nwj_loss',
    'pkd_loss',
    'quality_focal_distance',
    'reverse_gradient',
    'same_grid',
    'scale_gradient',
    'sigmoid_ramp',
    'standardized_logits',
    'symmetric_kl',
    'valuable_region',
    'vid_loss',
]
