from typing import Any

from mmengine.optim import OneCycleLR

from mmmuse.arguments import PositiveFloat
from mmmuse.registry import PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module()
class PerGroupOneCycleLR(OneCycleLR):
    """MMEngine's ``OneCycleLR``, in which the rate of each group is multiplied by its ``lr_mult``.

    MMEngine's own gives all parameters the same learning rate, whatever ``optim_wrapper.paramwise_cfg``
    says. Here the highest rate of a group is ``eta_max`` times its initial rate over that of the
    optimizer. So ``--auto-scale-lr``, which scales the initial rates, scales it too.

    Args:
        optimizer: The wrapped optimizer.
        eta_max: Highest learning rate of the parameters without a multiplier.
        **options: MMEngine's: ``total_steps``, ``pct_start``, ``by_epoch`` and others.
    """

    def __init__(self, optimizer: Any, eta_max: PositiveFloat, **options: Any) -> None:
        own = getattr(optimizer, 'optimizer', optimizer).defaults['lr']
        rates = [group.get('initial_lr', group['lr']) for group in optimizer.param_groups]
        super().__init__(optimizer, eta_max=[eta_max * rate / own for rate in rates], **options)
