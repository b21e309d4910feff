import pytest
import torch
from torch import nn

from mmmuse.backbones import NASNet
from mmmuse.backbones.nasnet import NormalCell, PreviousAdapter, ReductionCell


class Times(nn.Module):
    """Multiplies, and takes every second pixel where a branch has stride 2."""

    def __init__(self, factor: float, stride: int = 1) -> None:
        super().__init__()
        self.factor, self.stride = factor, stride

    def forward(self, x):
        return self.factor * x[..., :: self.stride, :: self.stride]


def test_a_normal_cell_adds_what_figure_4_of_the_paper_adds():
    cell = NormalCell(2, 2, 2, halve=False, spare=False)
    cell.last_3x3, cell.previous_3x3, cell.last_5x5 = Times(10), Times(100), Times(1000)
    cell.previous_5x5, cell.previous_3x3_again = Times(7), Times(70)
    last, previous = torch.full((1, 2, 5, 5), 2.0), torch.full((1, 2, 5, 5), 3.0)
    center = [part[0, 0, 2, 2].item() for part in cell.combine(last, previous)]
    assert center == [3, 22, 2300, 5, 6, 231]


def test_a_reduction_cell_adds_what_figure_4_of_the_paper_adds():
    cell = ReductionCell(2, 2, 2, halve=False, spare=False)
    cell.previous_7x7, cell.last_5x5 = Times(10, 2), Times(100, 2)
    cell.previous_7x7_again, cell.previous_5x5 = Times(1000, 2), Times(5, 2)
    cell.inner_3x3 = Times(2)
    last, previous = torch.full((1, 2, 12, 12), 2.0), torch.full((1, 2, 12, 12), 3.0)
    center = [part[0, 0, 3, 3].item() for part in cell.combine(last, previous)]
    # inner = 10 * 3 + 100 * 2 = 230
    assert center == [2 + 3000, 2 + 15, 2 + 460, 230 + 3002]


def test_an_output_of_twice_the_resolution_is_read_at_even_and_at_odd_pixels():
    adapter = PreviousAdapter(1, 2, halve=True, spare_convs=False).eval()
    for conv in (adapter.even, adapter.odd):
        nn.init.ones_(conv.weight)
        nn.init.zeros_(conv.bias)
    grid = torch.arange(1.0, 17.0).reshape(1, 1, 4, 4)
    even, odd = adapter(grid)[0] * (1 + 1e-5) ** 0.5
    torch.testing.assert_close(even, torch.tensor([[1.0, 3.0], [9.0, 11.0]]))
    torch.testing.assert_close(odd, torch.tensor([[6.0, 8.0], [14.0, 16.0]]))


@pytest.mark.parametrize('spare_convs', [False, True])
def test_every_parameter_that_is_trained_gets_a_gradient(spare_convs):
    network = NASNet(num_cells=2, channels=8, stem_channels=12, spare_convs=spare_convs)
    (feature,) = network(torch.randn(2, 3, 16, 16))
    assert feature.shape == (2, 24 * 8, 4, 4)
    feature.square().sum().backward()
    for name, parameter in network.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name


def test_spare_convolutions_change_nothing_but_the_count():
    plain = NASNet(num_cells=1, channels=8, stem_channels=8).eval()
    spare = NASNet(num_cells=1, channels=8, stem_channels=8, spare_convs=True).eval()
    assert len(spare.state_dict()) > len(plain.state_dict())
    spare.load_state_dict(plain.state_dict(), strict=False)
    images = torch.randn(2, 3, 16, 16)
    assert torch.equal(plain(images)[0], spare(images)[0])


def test_norm_eval_keeps_batch_norm_still_in_training():
    network = NASNet(num_cells=1, channels=4, stem_channels=4, norm_eval=True)
    network.train()
    assert network.training
    assert not any(m.training for m in network.modules() if isinstance(m, nn.BatchNorm2d))
