import math
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor

from mmmuse.arguments import Range
from mmmuse.critics import CriticScores
from mmmuse.functional import donsker_varadhan_loss, logmeanexp
from mmmuse.functional.precision import at_least_float32
from mmmuse.registry import MODELS

from .information_estimator import InformationEstimator


@MODELS.register_module()
class DonskerVaradhan(InformationEstimator):
    """The bound of Donsker and Varadhan; see :func:`mmmuse.functional.donsker_varadhan_loss`.

    In training mode the gradient's denominator is a moving average of the batches' means, the
    current batch included; the first batch initialises it. The value is that of the batch. Each
    process of a distributed run has its own average, as with BatchNorm. In eval mode the average is
    not updated, and the gradient is that of the batch.

    The loss is unbounded below and negative for views that share information, while MUSE's product
    needs positive factors: there it is replaced by its softplus. The paper does not give this; it
    uses the Jensen-Shannon loss only.

    Args:
        momentum: Weight of a batch in the moving average, above 0 and at most 1, 0.01 in
            implementations of MINE; None for the plain gradient, without the average.

    Raises:
        InputError: On any other momentum.

    Source: "Mutual Information Neural Estimation" (MINE; Belghazi et al., ICML
    2018), theorem 1 (Donsker and Varadhan, 1983) and section 3.2.
    """

    def __init__(self, momentum: Annotated[float, Range(above=0, most=1)] | None = 0.01) -> None:
        super().__init__()
        self.momentum = momentum
        if momentum is not None:
            self.register_buffer('log_mean_exp', torch.zeros(()))
            self.register_buffer('num_batches', torch.zeros((), dtype=torch.long))

    def _apply(self, *args, **kwargs) -> 'DonskerVaradhan':
        # In bfloat16 a small momentum would not change the average any more.
        super()._apply(*args, **kwargs)
        if self.momentum is not None:
            self.log_mean_exp = at_least_float32(self.log_mean_exp)
        return self

    def loss(self, scores: CriticScores) -> Tensor:
        """Return the loss of a batch's scores, a scalar."""
        if self.momentum is None or not self.training:
            return donsker_varadhan_loss(*scores)
        return donsker_varadhan_loss(*scores, self._average_with(scores.marginal))

    def estimate(self, scores: CriticScores) -> Tensor:
        """Return the bound on these scores, a scalar in nats, without the moving average."""
        return -donsker_varadhan_loss(*scores)

    def factor(self, loss: Tensor) -> Tensor:
        """Return softplus of the loss, which is positive and increasing in it."""
        return F.softplus(loss)

    @torch.no_grad()
    def _average_with(self, marginal: Tensor) -> Tensor:
        """Update the moving average with a batch, and return its logarithm."""
        batch = logmeanexp(marginal)
        kept = math.log1p(-self.momentum) if self.momentum < 1 else -math.inf
        average = torch.logaddexp(self.log_mean_exp + kept, batch + math.log(self.momentum))
        average = torch.where(self.num_batches == 0, batch, average)
        self.log_mean_exp.copy_(average)
        self.num_batches.add_(1)
        return average
