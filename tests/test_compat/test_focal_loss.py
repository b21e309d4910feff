import mmcv.ops
import pytest
import torch
from torch import Tensor


def reference_focal_loss(logits: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    chance = torch.sigmoid(logits)
    loss = torch.zeros_like(logits)
    for row, label in enumerate(target):
        for column in range(logits.shape[1]):
            p = chance[row, column]
            if label == column:
                loss[row, column] = -0.25 * (1 - p) ** 2 * torch.log(p)
            else:
                loss[row, column] = -0.75 * p**2 * torch.log(1 - p)
            if weight is not None:
                loss[row, column] *= weight[label]
    return loss


@pytest.mark.parametrize('weighted', [False, True])
def test_focal_loss_and_its_gradient(weighted):
    logits = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    # Background, the label 3, has no class weight.
    target = torch.tensor([0, 2, 1, 1] if weighted else [0, 2, 3, 1])
    weight = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64) if weighted else None

    def focal_loss(logits):
        return mmcv.ops.sigmoid_focal_loss(logits, target, 2.0, 0.25, weight, 'none')

    torch.testing.assert_close(focal_loss(logits), reference_focal_loss(logits, target, weight))
    assert torch.autograd.gradcheck(lambda x: focal_loss(x).sum(), logits)


def test_focal_loss_of_extreme_logits_is_finite():
    logits = torch.tensor([[200.0, -200.0]], requires_grad=True)
    loss = mmcv.ops.sigmoid_focal_loss(logits, torch.tensor([1]), 2.0, 0.25, None, 'none')
    loss.sum().backward()
    torch.testing.assert_close(loss, torch.tensor([[150.0, 50.0]]))
    torch.testing.assert_close(logits.grad, torch.tensor([[0.75, -0.25]]))


def reference_softmax_focal_loss(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    loss = logits.new_zeros(())
    for row, label in zip(logits, target):
        if label >= 0:
            p = torch.exp(row[label]) / torch.exp(row).sum()
            loss = loss - 0.25 * weight[label] * (1 - p) ** 1.5 * torch.log(p)
    return loss


@pytest.mark.parametrize('weighted', [False, True])
def test_softmax_focal_loss_and_its_gradient(weighted):
    logits = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0, 2, -1, 1, 1])
    weight = torch.tensor([0.5, 1.0, 2.0] if weighted else [1.0] * 3, dtype=torch.float64)

    def focal_loss(logits):
        given = weight if weighted else None
        return mmcv.ops.softmax_focal_loss(logits, target, 1.5, 0.25, given, 'sum')

    expected = reference_softmax_focal_loss(logits, target, weight)
    torch.testing.assert_close(focal_loss(logits), expected)
    theirs, ours = (torch.autograd.grad(loss, logits)[0] for loss in (expected, focal_loss(logits)))
    assert (ours[2] == 0).all()
    torch.testing.assert_close(ours, theirs)
    assert torch.autograd.gradcheck(focal_loss, logits)


@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0])
def test_softmax_focal_loss_of_the_wholly_right_and_wrong_is_finite(gamma):
    logits = torch.tensor([[200.0, -200.0], [200.0, -200.0]], requires_grad=True)
    loss = mmcv.ops.softmax_focal_loss(logits, torch.tensor([0, 1]), gamma, 0.25, None, 'sum')
    loss.backward()
    # The smallest chance of float32 is 2 ** -126.
    assert loss.item() == pytest.approx(0.25 * 126 * 0.6931472, rel=1e-5)
    torch.testing.assert_close(logits.grad, torch.tensor([[0.0, 0.0], [0.25, -0.25]]))


@pytest.mark.parametrize('name', ['sigmoid_focal_loss', 'softmax_focal_loss'])
def test_a_focal_loss_in_half_precision_is_near_that_in_float32(name):
    loss = getattr(mmcv.ops, name)
    target = torch.tensor([0, 2, 1, 1])
    half = torch.randn(4, 3).bfloat16().requires_grad_()
    full = half.detach().float().requires_grad_()
    values = [loss(logits, target, 2.0, 0.25, None, 'sum') for logits in (half, full)]
    for value in values:
        value.backward()
    assert values[0].dtype == half.grad.dtype == torch.bfloat16
    torch.testing.assert_close(values[0].float(), values[1], rtol=2e-2, atol=0)
    torch.testing.assert_close(half.grad.float(), full.grad, rtol=5e-2, atol=2e-3)
