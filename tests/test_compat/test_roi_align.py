import mmcv.ops
import pytest
import torch
import torchvision

from mmmuse.errors import InputError

REGIONS = torch.tensor(
    [[0, 1.0, 2.0, 13.0, 9.0], [1, 0.0, 0.0, 5.5, 30.0], [0, 3.0, 3.0, 3.4, 3.2]]
)


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('sampling_ratio', [0, 2])
def test_roi_align_and_its_gradient_are_torchvisions(aligned, sampling_ratio):
    features = torch.randn(2, 3, 8, 9, requires_grad=True)
    theirs = torchvision.ops.roi_align(features, REGIONS, (3, 2), 0.5, sampling_ratio, aligned)
    ours = mmcv.ops.RoIAlign((3, 2), 0.5, sampling_ratio, aligned=aligned)(features, REGIONS)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    weights = torch.randn_like(ours)
    gradients = [torch.autograd.grad((out * weights).sum(), features)[0] for out in (ours, theirs)]
    assert gradients[0].abs().sum() > 0
    torch.testing.assert_close(*gradients)


def test_roi_align_passes_gradcheck():
    features = torch.randn(2, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    align = mmcv.ops.RoIAlign((2, 3), 0.25, 2)
    assert torch.autograd.gradcheck(lambda x: align(x, REGIONS.double()), features)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_roi_align_in_half_precision_is_rounded_once(dtype):
    align = mmcv.ops.RoIAlign((2, 3), 0.25, 2)
    features = torch.randn(2, 2, 5, 6).to(dtype).requires_grad_()
    pooled = align(features, REGIONS.to(dtype))
    assert pooled.dtype == dtype
    torch.testing.assert_close(pooled, align(features.float(), REGIONS.to(dtype).float()).to(dtype))
    pooled.sum().backward()
    assert features.grad.dtype == dtype


def test_roi_align_refuses_max_pooling():
    align = mmcv.ops.RoIAlign((2, 2), pool_mode='max')
    with pytest.raises(InputError, match="pool_mode='max'"):
        align(torch.randn(2, 1, 4, 4), REGIONS)
