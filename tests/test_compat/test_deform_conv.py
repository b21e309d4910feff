from functools import partial

import mmcv.ops
import numpy as np
import pytest
import torch
from torch import Tensor

BATCH, CHANNELS, FILTERS, KERNEL = 3, 4, 6, (3, 2)
SETTINGS = [
    dict(),
    dict(stride=(2, 1)),
    dict(padding=(1, 2)),
    dict(dilation=(1, 2)),
    dict(groups=2),
    dict(deform_groups=2),
    dict(stride=2, padding=(2, 1), dilation=(2, 1), groups=2, deform_groups=4),
]


def pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


def operands(stride=1, padding=0, dilation=1, groups=1, deform_groups=1) -> list[Tensor]:
    """Input, offset, mask, weight and bias in float64; a third of the points is outside the map."""
    steps = (pair(stride), pair(padding), pair(dilation), KERNEL)
    size = [
        (whole + 2 * padded - spread * (points - 1) - 1) // step + 1
        for whole, step, padded, spread, points in zip((6, 7), *steps)
    ]
    points = deform_groups * KERNEL[0] * KERNEL[1]
    shapes = [
        (BATCH, CHANNELS, 6, 7),
        (BATCH, 2 * points, *size),
        (BATCH, points, *size),
        (FILTERS, CHANNELS // groups, *KERNEL),
        (FILTERS,),
    ]
    tensors = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
    tensors[1] *= 2
    tensors[2] = tensors[2].sigmoid()
    return [tensor.requires_grad_() for tensor in tensors]


def sampled(plane: np.ndarray, y: float, x: float) -> float:
    """Linear between pixels, and falling to zero within a pixel outside the map."""
    rows, columns = (np.maximum(0, 1 - abs(np.arange(n) - p)) for n, p in zip(plane.shape, (y, x)))
    return rows @ plane @ columns


def reference_convolution(
    features, offset, mask, weight, bias, stride=1, padding=0, dilation=1, groups=1, deform_groups=1
) -> Tensor:
    stride, padding, dilation = pair(stride), pair(padding), pair(dilation)
    features, offset, mask, weight, bias = (
        tensor.detach().numpy() for tensor in (features, offset, mask, weight, bias)
    )
    output = np.zeros((BATCH, FILTERS, *offset.shape[2:]))
    for n, d, row, column in np.ndindex(output.shape):
        output[n, d, row, column] = bias[d]
        for near, i, j in np.ndindex(weight.shape[1:]):
            c = d // (FILTERS // groups) * (CHANNELS // groups) + near
            group = c // (CHANNELS // deform_groups)
            point = (group * KERNEL[0] + i) * KERNEL[1] + j
            dy, dx = offset[n, 2 * point : 2 * point + 2, row, column]
            y = row * stride[0] - padding[0] + i * dilation[0] + dy
            x = column * stride[1] - padding[1] + j * dilation[1] + dx
            value = sampled(features[n, c], y, x) * mask[n, point, row, column]
            output[n, d, row, column] += weight[d, near, i, j] * value
    return torch.from_numpy(output)


def plain(features, offset, weight, **settings) -> Tensor:
    order = ('stride', 'padding', 'dilation', 'groups', 'deform_groups')
    given = dict(stride=1, padding=0, dilation=1, groups=1, deform_groups=1) | settings
    return mmcv.ops.deform_conv2d(features, offset, weight, *(given[name] for name in order))


def modulated(features, offset, mask, weight, bias, **settings) -> Tensor:
    order = ('stride', 'padding', 'dilation', 'groups', 'deform_groups')
    given = dict(stride=1, padding=0, dilation=1, groups=1, deform_groups=1) | settings
    return mmcv.ops.modulated_deform_conv2d(
        features, offset, mask, weight, bias, *(given[name] for name in order)
    )


@pytest.mark.parametrize('settings', SETTINGS, ids=str)
def test_the_plain_one_is_a_convolution_at_moved_points(settings):
    features, offset, mask, weight, bias = operands(**settings)
    ones, nothing = torch.ones_like(mask), torch.zeros_like(bias)
    expected = reference_convolution(features, offset, ones, weight, nothing, **settings)
    torch.testing.assert_close(plain(features, offset, weight, **settings), expected)


@pytest.mark.parametrize('settings', SETTINGS, ids=str)
def test_the_modulated_one_weights_its_points_and_adds_a_bias(settings):
    given = operands(**settings)
    expected = reference_convolution(*given, **settings)
    torch.testing.assert_close(modulated(*given, **settings), expected)


def test_a_modulated_one_needs_no_bias():
    features, offset, mask, weight, bias = operands()
    expected = reference_convolution(features, offset, mask, weight, torch.zeros_like(bias))
    ours = modulated(features, offset, mask, weight, None)
    torch.testing.assert_close(ours, expected)
    ours.sum().backward()
    assert weight.grad.abs().sum() > 0


@pytest.mark.parametrize('settings', SETTINGS, ids=str)
def test_both_pass_gradcheck(settings):
    features, offset, mask, weight, bias = operands(**settings)
    check = partial(torch.autograd.gradcheck, fast_mode=True)
    assert check(partial(plain, **settings), (features, offset, weight))
    assert check(partial(modulated, **settings), (features, offset, mask, weight, bias))
    assert check(
        lambda *given: modulated(*given, None, **settings), (features, offset, mask, weight)
    )


def test_unmoved_points_make_it_a_convolution():
    features, _, _, weight, bias = operands(groups=2, padding=1)
    convolution = torch.nn.functional.conv2d(features, weight, bias, padding=1, groups=2)
    offset = torch.zeros(BATCH, 12, *convolution.shape[2:], dtype=torch.float64)
    ours = modulated(features, offset, offset[:, :6] + 1, weight, bias, padding=1, groups=2)
    torch.testing.assert_close(ours, convolution)
    ours = plain(features, offset, weight, padding=1, groups=2)
    torch.testing.assert_close(ours, convolution - bias[:, None, None])


@pytest.mark.parametrize('with_mask', [False, True])
def test_an_offset_at_the_border_of_the_map_has_no_gradient(with_mask):
    # A row of pixels 3 and 5, padded by one: the unmoved points are at x of -1, 0, 1 and 2.
    features, weight = torch.tensor([[[[3.0, 5.0]]]]), torch.ones(1, 1, 1, 1)
    offset = torch.zeros(1, 2, 1, 4, requires_grad=True)
    if with_mask:
        mask = torch.ones(1, 1, 1, 4)
        ours = modulated(features, offset, mask, weight, None, padding=(0, 1))
    else:
        ours = plain(features, offset, weight, padding=(0, 1))
    assert ours.flatten().tolist() == [0, 3, 5, 0]
    ours.sum().backward()
    assert offset.grad[0, :, 0].tolist() == [[0, -3, -5, 0], [0, 2, -5, 0]]


@pytest.mark.parametrize('dtype', [torch.float16, torch.float32])
@pytest.mark.parametrize('displaced', [float('nan'), float('inf'), -float('inf')])
def test_a_point_displaced_by_no_number_is_outside_the_map(displaced, dtype):
    # A column of pixels 3 and 5. torchvision's own kernel ends the process here.
    features = torch.tensor([[[[3.0], [5.0]]]], dtype=dtype)
    weight = torch.ones(1, 1, 1, 1, dtype=dtype)
    offset = torch.zeros(1, 2, 2, 1, dtype=dtype)
    offset[0, 0, 0] = displaced
    offset.requires_grad_()
    ours = plain(features, offset, weight)
    assert ours.flatten().tolist() == [0, 5]
    ours.sum().backward()
    assert offset.grad[0, :, 0].tolist() == [[0], [0]]


@pytest.mark.parametrize(('batch', 'step'), [(3, 32), (4, 2), (6, 3)])
def test_the_step_of_the_real_op_changes_nothing(batch, step):
    convolution = mmcv.ops.DeformConv2d(2, 3, 3, padding=1, im2col_step=step)
    features, offset = torch.randn(batch, 2, 5, 5), torch.randn(batch, 18, 5, 5)
    together = convolution(features, offset)
    single = [convolution(features[n : n + 1], offset[n : n + 1]) for n in range(batch)]
    torch.testing.assert_close(together, torch.cat(single))


def test_mmcv_still_refuses_a_batch_that_its_step_does_not_divide():
    convolution = mmcv.ops.DeformConv2d(2, 3, 3, padding=1, im2col_step=2)
    with pytest.raises(AssertionError, match='divisible by im2col_step'):
        convolution(torch.randn(3, 2, 5, 5), torch.randn(3, 18, 5, 5))


def test_the_weights_gradient_is_scaled_and_added(stand_in):
    features, offset, _, weight, _ = (tensor.detach() for tensor in operands())
    grad_output = torch.randn(BATCH, FILTERS, *offset.shape[2:], dtype=torch.float64)
    settings = dict(kW=2, kH=3, dW=1, dH=1, padW=0, padH=0, dilationW=1, dilationH=1)
    settings |= dict(group=1, deformable_group=1, im2col_step=BATCH)
    before = torch.randn_like(weight)
    workspace = torch.empty(0)
    filled = before.clone()
    stand_in.deform_conv_backward_parameters(
        features, offset, grad_output, filled, workspace, workspace, scale=0.5, **settings
    )
    weight.requires_grad_()
    gradient = torch.autograd.grad(plain(features, offset, weight), weight, grad_output)[0]
    torch.testing.assert_close(filled, before + 0.5 * gradient)


def test_a_map_smaller_than_the_kernel_is_padded_by_mmcv():
    convolution = mmcv.ops.DeformConv2d(2, 3, 3, padding=1)
    features, offset = torch.randn(1, 2, 2, 2), torch.zeros(1, 18, 2, 2)
    expected = torch.nn.functional.conv2d(features, convolution.weight, padding=1)
    torch.testing.assert_close(convolution(features, offset), expected)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_rounded_once(dtype):
    half = [tensor.detach().to(dtype).requires_grad_() for tensor in operands(padding=1)]
    full = [tensor.detach().float().requires_grad_() for tensor in half]
    ours, theirs = (modulated(*given, padding=1) for given in (half, full))
    assert ours.dtype == dtype
    assert torch.equal(ours, theirs.to(dtype))
    ours.sum().backward()
    theirs.sum().backward()
    for one, other in zip(half, full):
        assert one.grad.dtype == dtype
        torch.testing.assert_close(one.grad, other.grad.to(dtype))


def test_under_autocast_the_offsets_say_the_precision():
    convolution = mmcv.ops.ModulatedDeformConv2dPack(2, 3, 3, padding=1)
    features = torch.randn(2, 2, 5, 5)
    with torch.autocast('cpu', torch.bfloat16):
        ours = convolution(features)
    assert ours.dtype == torch.bfloat16
    ours.sum().backward()
    assert convolution.weight.grad.dtype == torch.float32
    assert convolution.conv_offset.bias.grad.abs().sum() > 0
