import warnings
from collections.abc import Mapping

from torch import Tensor

from mmmuse.compat.compiling import not_compiled
from mmmuse.tapping.features import DistillFeatures

from .gradient_length import gradient_square
from .own_total import sum_of_losses

GRADIENT_RATIO = 'gradient_ratio'


@not_compiled
def gradient_ratio(
    features: DistillFeatures, task: Mapping[str, object], added: Mapping[str, object]
) -> dict[str, Tensor]:
    """Return the length of MUSE's gradient over that of the network's own loss, in one step.

    Both are taken at the deepest feature that both losses train through, by a backward pass each that ends
    there: that of the last shallow module, or, where MUSE reads earlier modules only, of the last of
    these. The step's own backward pass and the parameters' gradients are not touched.

    Args:
        features: Of the network, from this step's forward.
        task: The network's own losses by name.
        added: The other losses by name; those of :class:`mmmuse.losses.MUSELoss` count, also
            those in which another network learns from this one.

    Returns:
        ``gradient_ratio``; nothing without MUSE, where no feature receives a gradient of both (their
        modules are frozen), where the network has no loss of its own or the ratio is not finite, or
        where gradients cannot be taken there (reentrant checkpointing; said once).
    """
    muse = [
        value
        for name, value in added.items()
        if name.startswith('loss_muse') or '.loss_muse' in name
    ]
    own = sum_of_losses(task)
    if not muse or not isinstance(own, Tensor):
        return {}
    # The last feature is that of a network without shallow modules.
    for feature in reversed(features.shallow or (features.last,)):
        if feature is None or not feature.requires_grad:
            continue
        try:
            squares = [gradient_square(of_terms, [feature]) for of_terms in (sum(muse), own)]
        except RuntimeError as error:
            warnings.warn(f'{GRADIENT_RATIO} is not measured: {error}', stacklevel=2)
            return {}
        if None not in squares:
            ratio = (squares[0] / squares[1]).sqrt()
            return {GRADIENT_RATIO: ratio} if ratio.isfinite() else {}
    return {}
