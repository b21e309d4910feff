"""Pure functions, one formula each: tensors in, tensor out."""

from .adversarial import discriminator_loss, reverse_gradient
from .donsker_varadhan import donsker_varadhan_loss
from .hint import hint_loss
from .infonce import infonce_loss
from .jsd import jsd_critic_loss
from .kd import kd_loss
from .logmeanexp import logmeanexp
from .mmd import mmd_loss
from .nwj import nwj_loss
from .vid import vid_loss
from .views import global_view, local_view, map_view, same_grid

__all__ = [
    'discriminator_loss',
    'donsker_varadhan_loss',
    'global_view',
    'hint_loss',
    'infonce_loss',
    'jsd_critic_loss',
    'kd_loss',
    'local_view',
    'logmeanexp',
    'map_view',
    'mmd_loss',
    'nwj_loss',
    'reverse_gradient',
    'same_grid',
    'vid_loss',
]
