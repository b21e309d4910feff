import pytest
import torch

from mmmuse.errors import InputError
from mmmuse.functional import masked_locations, mgd_loss

from .test_cwd import maps


def test_is_the_squared_distance_of_an_image():
    generated, target = maps(0, 3, 2, 2, 4)
    total = 0.0
    for of_image, wanted in zip(generated.tolist(), target.tolist()):
        for channel, its in zip(of_image, wanted):
            total += sum(
                (t - g) ** 2 for row, other in zip(channel, its) for g, t in zip(row, other)
            )
    assert mgd_loss(generated, target).item() == pytest.approx(total / 3, rel=1e-12)


def test_the_target_gets_no_gradient():
    generated, target = (x.requires_grad_() for x in maps(0, 2, 2, 2, 3))
    mgd_loss(generated, target).backward()
    torch.testing.assert_close(generated.grad, (generated - target).detach())
    assert target.grad is None


def test_about_the_ratio_of_locations_is_masked_in_all_channels_of_an_image():
    torch.manual_seed(0)
    masked = masked_locations(torch.ones(4, 3, 50, 50), 0.65)
    assert set(masked.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(masked[:, 0], masked[:, 1])
    assert (masked == 0).float().mean().item() == pytest.approx(0.65, abs=0.02)
    assert not torch.equal(masked[0], masked[1])  # Each image has a mask of its own.


@pytest.mark.parametrize(('ratio', 'part'), [(0.0, 1.0), (1.0, 0.0)])
def test_a_ratio_of_none_or_all(ratio, part):
    feature = torch.randn(2, 3, 4, 4)
    assert torch.equal(masked_locations(feature, ratio), feature * part)


def test_the_mask_is_the_same_in_half_precision():
    feature = torch.ones(2, 3, 8, 8)
    masks = []
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        torch.manual_seed(0)
        masks.append(masked_locations(feature.to(dtype), 0.5).float())
    assert torch.equal(masks[0], masks[1])
    assert torch.equal(masks[0], masks[2])


def test_wrong_arguments_are_refused():
    with pytest.raises(InputError, match=r'a ratio from 0 to 1, got 1\.5'):
        masked_locations(torch.ones(1, 1, 2, 2), 1.5)
    with pytest.raises(InputError, match=r'mgd_loss needs two maps .* of one shape'):
        mgd_loss(torch.ones(1, 1, 2, 2), torch.ones(1, 2, 2, 2))
