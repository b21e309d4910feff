"""Pure functions, one formula each: tensors in, tensor out."""

from .hint import hint_loss
from .jsd import jsd_critic_loss
from .kd import kd_loss
from .views import global_view, local_view

__all__ = ['global_view', 'hint_loss', 'jsd_critic_loss', 'kd_loss', 'local_view']
