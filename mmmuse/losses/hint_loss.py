from torch import Tensor

from mmmuse.arguments import NonNegativeFloat
from mmmuse.functional import global_view, hint_loss
from mmmuse.registry import MODELS
from mmmuse.tapping.features import NetworkSpecs, Step

from .distill_loss import DistillLoss


@MODELS.register_module()
class HintLoss(DistillLoss):
    """BYOT's L2: each exit's pooled feature imitates the pooled last feature.

    See :func:`mmmuse.functional.hint_loss` for the formula.

    Args:
        learner: Shapes of the network that learns; inferred.
        source: Shapes of the network that it learns from; inferred.
        loss_weight: Factor on the sum over images, channels and exits; 1e-6 in
            BYOT's public code, for 128 images. A sum depends on the number of images that one
            process has in one forward pass: for n of them multiply by 128 / n.

    Returns:
        ``loss_l2``.

    Source: "Be Your Own Teacher" (Zhang et al., ICCV 2019), section 3.2; the
    L2 rows of MUSE's table 5.
    """

    reads = frozenset({'exits', 'vector'})

    def __init__(
        self, learner: NetworkSpecs, source: NetworkSpecs, loss_weight: NonNegativeFloat = 1e-6
    ) -> None:
        super().__init__(learner, source, loss_weight)

    def forward(self, step: Step) -> dict[str, Tensor]:
        """Return ``loss_l2``."""
        distance = sum(
            hint_loss(global_view(exit_map), step.source.last_vector)
            for exit_map in step.learner.exits
        )
        return {'loss_l2': self.weight(step) * distance}
