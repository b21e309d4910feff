import mmcv.ops
import pytest
import torch
from torch import Tensor

# Inside the map, over its edge, smaller than a pixel, outside the map, and inside out.
REGIONS = torch.tensor(
    [
        [0, 1.0, 2.0, 13.0, 9.0],
        [1, -3.0, -1.0, 5.5, 30.0],
        [0, 3.0, 3.0, 2.4, 2.3],
        [1, 40.0, 2.0, 50.0, 9.0],
        [1, 9.0, 2.0, 4.0, 9.0],
    ],
    dtype=torch.float64,
)


def meets(pixel: int, start: float, size: float, count: int, index: int) -> bool:
    """Whether a pixel has a part in one of the equal bins of a region."""
    return start + size / count * index < pixel + 1 and pixel < start + size / count * (index + 1)


def reference_roi_pool(features: Tensor, rois: Tensor, size: tuple, scale: float) -> Tensor:
    _, channels, height, width = features.shape
    pooled = torch.zeros(len(rois), channels, *size, dtype=features.dtype)
    for index, (image, x1, y1, x2, y2) in enumerate(rois.tolist()):
        left, wide, top, high = (scale * v for v in (x1, x2 + 1 - x1, y1, y2 + 1 - y1))
        for row in range(size[0]):
            for column in range(size[1]):
                inside = [
                    features[int(image), :, y, x]
                    for y in range(height)
                    for x in range(width)
                    if min(wide, high) > 0
                    and meets(y, top, high, size[0], row)
                    and meets(x, left, wide, size[1], column)
                ]
                if inside:
                    pooled[index, :, row, column] = torch.stack(inside).amax(0)
    return pooled


@pytest.mark.parametrize('scale', [0.5, 0.3])
@pytest.mark.parametrize('size', [(3, 2), (1, 5)])
def test_each_bin_has_the_maximum_of_the_pixels_it_meets(size, scale):
    features = torch.randn(2, 3, 8, 9, dtype=torch.float64, requires_grad=True)
    ours = mmcv.ops.RoIPool(size, scale)(features, REGIONS)
    expected = reference_roi_pool(features, REGIONS, size, scale)
    assert (expected != 0).flatten(1).any(1).tolist() == [True, True, True, False, False]
    torch.testing.assert_close(ours, expected, rtol=0, atol=0)
    weights = torch.randn_like(ours)
    gradients = [torch.autograd.grad((o * weights).sum(), features)[0] for o in (ours, expected)]
    torch.testing.assert_close(*gradients)


def test_it_passes_gradcheck():
    features = torch.randn(2, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    pool = mmcv.ops.RoIPool((2, 3), 0.25)
    assert torch.autograd.gradcheck(lambda x: pool(x, REGIONS), features)


def test_corners_are_not_rounded_to_pixels():
    # From 0.6 to 1.6: of the pixels 0 and 1 the first is the greater.
    features = -torch.arange(16.0).view(1, 1, 4, 4)
    assert mmcv.ops.roi_pool(features, torch.tensor([[0, 0.6, 0.6, 0.6, 0.6]]), 1).item() == 0


def test_a_pixel_gathers_the_gradient_of_all_its_bins_and_an_empty_bin_gives_none():
    features = torch.tensor([[[[1.0, 2.0], [4.0, 3.0]]]], requires_grad=True)
    whole, outside = [0.0, 0.0, 0.0, 1.0, 1.0], [0.0, 7.0, 7.0, 9.0, 9.0]
    pooled = mmcv.ops.roi_pool(features, torch.tensor([whole, whole, outside]), 1)
    assert pooled.flatten().tolist() == [4, 4, 0]
    (pooled.flatten() * torch.tensor([1.0, 10.0, 100.0])).sum().backward()
    assert features.grad.tolist() == [[[[0, 0], [11, 0]]]]


def test_no_region_is_no_output_and_no_gradient():
    features = torch.randn(2, 3, 4, 4, requires_grad=True)
    pooled = mmcv.ops.roi_pool(features, torch.zeros(0, 5), 2)
    assert pooled.shape == (0, 3, 2, 2)
    pooled.sum().backward()
    assert features.grad.abs().sum() == 0


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_pooled_without_a_loss(dtype):
    pool = mmcv.ops.RoIPool((2, 3), 0.25)
    features = torch.randn(2, 2, 5, 6).to(dtype).requires_grad_()
    rois = REGIONS.to(dtype)
    pooled = pool(features, rois)
    assert pooled.dtype == dtype
    assert torch.equal(pooled.float(), pool(features.float(), rois.float()))
    pooled.sum().backward()
    assert features.grad.dtype == dtype
    assert features.grad.sum() == (pooled != 0).sum()
