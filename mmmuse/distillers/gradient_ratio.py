import warnings
from collections.abc import Mapping

import torch
from torch import Tensor

from mmmuse.compat.compiling import not_compiled
from mmmuse.functional.precision import at_least_float32
from mmmuse.tapping.features import DistillFeatures

from .own_total import sum_of_losses

GRADIENT_RATIO = 'gradient_ratio'


@not_compiled
def gradient_ratio(
    features: DistillFeatures, task: Mapping[str, object], added: Mapping[str, object]
) -> dict[str, Tensor]:
    """Return the length of MUSE's gradient over that of the network's own loss, in one step.

    Both are taken at the deepest feature that both losses train through, that of the last
    shallow module, by a backward pass each that ends there. The step's own backward pass and
    the parameters' gradients are not touched.

    Args:
        features: Of the network, from this step's forward.
        task: The network's own losses by name.
        added: The other losses by name; those of :class:`mmmuse.losses.MUSELoss` count, also
            those in which another network learns from this one.

    Returns:
        ``gradient_ratio``; nothing without MUSE, where the feature receives no gradient (its
        modules are frozen), where the network has no loss of its own or the ratio is not finite, or
        where gradients cannot be taken there (reentrant checkpointing; said once).
    """
    feature = features.shallow[-1] if features.shallow else features.last
    muse = [
        value
        for name, value in added.items()
        if name.startswith('loss_muse') or '.loss_muse' in name
    ]
    own = sum_of_losses(task)
    if feature is None or not feature.requires_grad or not muse or not isinstance(own, Tensor):
        return {}
    try:
        lengths = [_length(of_terms, feature) for of_terms in (sum(muse), own)]
    except RuntimeError as error:
        warnings.warn(f'{GRADIENT_RATIO} is not measured: {error}', stacklevel=2)
        return {}
    ratio = lengths[0] / lengths[1]
    return {GRADIENT_RATIO: ratio} if ratio.isfinite() else {}


def _length(loss: Tensor, feature: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(loss, feature, retain_graph=True, allow_unused=True)
    return loss.new_zeros(()) if gradient is None else at_least_float32(gradient).norm()
