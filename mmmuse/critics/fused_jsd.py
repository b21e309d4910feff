"""The concat critic's JSD loss and its gradient in one pass over chunks of images.

The loss is a mean over pairs, so the gradient of a chunk can be computed right after its scores; the
backward pass only scales it. Tensors of size images x locations x hidden exist for one chunk at a
time, so the memory is that of the local maps.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import Function, once_differentiable

from mmmuse.compat.compiling import not_compiled
from mmmuse.functional.precision import at_least_float32

# Rows (images x locations) of a chunk: small enough for a CPU's cache, large enough to fill a GPU.
_CHUNK_ROWS = {'cpu': 4096, 'cuda': 1 << 17}
# Gradients are stored as this times the gradient of the sum over pairs. The loss scale of float16 is
# applied in the backward pass only: the gradient of the mean would underflow, that of the sum overflow.
_UNIT = 2.0**-6


@not_compiled
def fused_concat_jsd(
    tokens: Tensor,
    global_: Tensor,
    weights: Sequence[Tensor],
    shifts: Sequence[int],
    gradient_scale: float = 1.0,
) -> Tensor:
    """Return the JSD loss of the concat critic.

    Args:
        tokens: Local vectors, ``(N, L, C)``.
        global_: Projected global vectors, ``(N, D)``.
        weights: Weight and bias of the local projection, the hidden layer and
            the score, the weights as matrices ``(out, in)``.
        shifts: The mismatched pairs: image n with the vector of image n + shift.
        gradient_scale: Factor on the gradient of ``tokens`` only.
    """
    return _ConcatJSD.apply(
        tokens, global_, *weights, tuple(shifts), gradient_scale, torch.is_grad_enabled()
    )


class _ConcatJSD(Function):
    @staticmethod
    def forward(
        ctx: Any,
        tokens: Tensor,
        global_: Tensor,
        local_weight: Tensor,
        local_bias: Tensor,
        hidden_weight: Tensor,
        hidden_bias: Tensor,
        score_weight: Tensor,
        score_bias: Tensor,
        shifts: tuple[int, ...],
        gradient_scale: float,
        needs_grad: bool,
    ) -> Tensor:
        weights = (local_weight, local_bias, hidden_weight, hidden_bias, score_weight, score_bias)
        with torch.autocast(tokens.device.type, enabled=False):
            step = _Pass(tokens, global_, weights, shifts, needs_grad)
            loss = step.run()
        if needs_grad:
            ctx.dtypes = [tensor.dtype for tensor in (tokens, global_, *weights)]
            ctx.mean_of_units = step.mean_of_units
            ctx.gradient_scale = gradient_scale
            ctx.save_for_backward(step.tokens_grad, step.global_grad, *step.weight_grads)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grad = grad * ctx.mean_of_units
        tokens_factor = grad * ctx.gradient_scale
        factors = (tokens_factor, *(grad for _ in ctx.saved_tensors[1:]))
        grads = (
            (at_least_float32(saved) * factor).to(dtype)
            for saved, factor, dtype in zip(ctx.saved_tensors, factors, ctx.dtypes, strict=True)
        )
        return (*grads, None, None, None)


class _Pass:
    """One run over the chunks, adding up loss and gradients.

    The tensors of a chunk have the dtype of the projections: bfloat16 under autocast, and in a
    model of that type. Scores, softplus, means and the sums of gradients are float32 at least.
    """

    def __init__(
        self,
        tokens: Tensor,
        global_: Tensor,
        weights: tuple[Tensor, ...],
        shifts: tuple[int, ...],
        needs_grad: bool,
    ) -> None:
        self.tokens = tokens.to(global_.dtype)
        self.global_ = global_
        self.weights = tuple(weight.detach().to(global_.dtype) for weight in weights)
        self.shifts = shifts
        self.needs_grad = needs_grad
        self.mean_of_units = 1 / (_UNIT * tokens.shape[0] * tokens.shape[1])
        self._buffers: dict[str, Tensor] = {}
        summed = torch.promote_types(weights[0].dtype, torch.float32)
        self.loss = torch.zeros((), dtype=summed, device=tokens.device)
        if needs_grad:
            self.tokens_grad = torch.empty_like(tokens)
            self.global_grad = torch.zeros_like(global_, dtype=summed)
            self.weight_grads = tuple(torch.zeros_like(weight, dtype=summed) for weight in weights)

    def run(self) -> Tensor:
        num_images, num_locations, _ = self.tokens.shape
        rows = _CHUNK_ROWS.get(self.tokens.device.type, _CHUNK_ROWS['cpu'])
        step = max(rows // num_locations, 1)
        every_image = torch.arange(num_images, device=self.tokens.device)
        for start in range(0, num_images, step):
            images = every_image[start : start + step]
            local = self.tokens[start : start + step]
            projected = _linear(local, *self.weights[:2])
            grad = self._pairs(projected, images, -1, _UNIT)
            if self.needs_grad and len(self.shifts) > 1:
                grad = at_least_float32(grad)
            for shift in self.shifts:
                partners = (images + shift) % num_images
                more = self._pairs(projected, partners, 1, _UNIT / len(self.shifts))
                grad = grad.add_(more) if self.needs_grad else None
            if self.needs_grad:
                grad = grad.to(local.dtype)
                local_grad, weight, bias = _linear_backward(grad, local, self.weights[0])
                self.tokens_grad[start : start + step] = local_grad
                self.weight_grads[0].add_(weight)
                self.weight_grads[1].add_(bias)
        return self.loss * self.mean_of_units

    def _pairs(
        self, projected: Tensor, partners: Tensor, sign: int, weight: float
    ) -> Tensor | None:
        """Add the loss of one set of pairs; return the gradient of the projected local vectors."""
        _, _, hidden_weight, hidden_bias, score_weight, score_bias = self.weights
        first = torch.add(
            projected,
            self.global_[partners].unsqueeze(1),
            out=self._scratch('first', projected.shape),
        ).relu_()
        second = _linear(first, hidden_weight, hidden_bias).relu_()
        second_rows = second.flatten(0, 1)
        scores = sign * F.linear(second_rows, score_weight, score_bias)[:, 0].to(self.loss.dtype)
        self.loss += F.softplus(scores).sum() * weight
        if not self.needs_grad:
            return None
        score_grad = scores.sigmoid_() * (sign * weight)
        rows_grad = score_grad.to(second.dtype)
        hidden_grad = torch.mul(
            rows_grad[:, None], score_weight, out=self._scratch('hidden_grad', second_rows.shape)
        )
        _relu_backward_(hidden_grad, second_rows)
        first_grad, weight, bias = _linear_backward(
            hidden_grad.view_as(second), first, hidden_weight
        )
        _relu_backward_(first_grad, first)
        self.weight_grads[2].add_(weight)
        self.weight_grads[3].add_(bias)
        self.weight_grads[4][0].add_(torch.mv(second_rows.t(), rows_grad))
        self.weight_grads[5].add_(score_grad.sum())
        self.global_grad.index_add_(0, partners, first_grad.sum(1, dtype=self.global_grad.dtype))
        return first_grad

    def _scratch(self, name: str, shape: torch.Size) -> Tensor:
        """Return a buffer that is reused for the next pairs, as new memory costs page faults."""
        buffer = self._buffers.get(name)
        if buffer is None or buffer.shape != shape:
            buffer = self._buffers[name] = self.global_.new_empty(shape)
        return buffer


def _relu_backward_(grad: Tensor, activation: Tensor) -> None:
    torch.ops.aten.threshold_backward.grad_input(grad, activation, 0, grad_input=grad)


def _as_image(tokens: Tensor) -> Tensor:
    return tokens.unsqueeze(2).permute(0, 3, 1, 2)


def _as_tokens(image: Tensor) -> Tensor:
    return image.permute(0, 2, 3, 1).squeeze(2)


def _linear(tokens: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Apply a linear layer to ``(N, L, C)``; on a CPU as a 1x1 convolution, which is faster."""
    if tokens.device.type != 'cpu':
        return F.linear(tokens, weight, bias)
    return _as_tokens(F.conv2d(_as_image(tokens), weight[..., None, None], bias))


def _linear_backward(grad: Tensor, tokens: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
    """Return the gradients of a linear layer's input, weight and bias."""
    if tokens.device.type != 'cpu':
        rows = grad.flatten(0, 1)
        return grad @ weight, rows.t() @ tokens.flatten(0, 1), rows.sum(0)
    grads = torch.ops.aten.convolution_backward(
        _as_image(grad),
        _as_image(tokens),
        weight[..., None, None],
        [len(weight)],
        [1, 1],
        [0, 0],
        [1, 1],
        False,
        [0, 0],
        1,
        [True, True, True],
    )
    return _as_tokens(grads[0]), grads[1][..., 0, 0], grads[2]
