from torch import Tensor, nn

from mmmuse.errors import InputError
from mmmuse.functional import kd_loss
from mmmuse.registry import MODELS


@MODELS.register_module()
class KDLoss(nn.Module):
    """Distillation of logits at a temperature; see :func:`mmmuse.functional.kd_loss`.

    Args:
        temperature: Above 0. The paper does not give this; 3 is BYOT's.
        loss_weight: Factor on the loss.

    Raises:
        InputError: If the temperature is not positive.
    """

    def __init__(self, temperature: float = 3.0, loss_weight: float = 1.0) -> None:
        super().__init__()
        if not temperature > 0:
            raise InputError(f'KDLoss needs a temperature above 0, got {temperature}')
        self.temperature = temperature
        self.loss_weight = loss_weight

    def forward(self, student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """Return the weighted loss of logits ``(N, K)`` against detached logits ``(N, K)``."""
        return self.loss_weight * kd_loss(student_logits, teacher_logits, self.temperature)
