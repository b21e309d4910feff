import pytest
import torch
from torch import nn

from mmmuse.tapping.fixed_weights import fixed_weights


def network(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 5, 3))
    for buffer in (model[1].running_mean, model[1].running_var):
        buffer.uniform_(0.5, 2)
    return model.eval()


def test_networks_of_one_architecture_compute_the_same_whatever_their_weights():
    image = torch.randn(1, 3, 8, 8)
    outputs = []
    for seed in (0, 1):
        model = network(seed)
        with torch.no_grad(), fixed_weights(model):
            outputs.append(model(image))
    assert torch.equal(*outputs)
    assert 0.1 < outputs[0].std() < 10


def test_statistics_of_an_instance_norm_do_not_count():
    model = nn.InstanceNorm2d(4, track_running_stats=True).eval()
    image, outputs = torch.randn(1, 4, 8, 8), []
    for scale in (1.0, 9.0):
        model.running_var.fill_(scale)
        with fixed_weights(model):
            outputs.append(model(image))
    assert torch.equal(*outputs)
    assert model.running_var.eq(9).all()


def test_weights_and_statistics_come_back_even_after_an_exception():
    model = network(0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    parameters = list(model.parameters())

    def fail_with_fixed_weights():
        with fixed_weights(model):
            assert not torch.equal(model[0].weight, before['0.weight'])
            assert model[1].running_mean.eq(0).all()
            assert model[1].running_var.eq(1).all()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_with_fixed_weights()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(one is other for one, other in zip(parameters, model.parameters()))


def test_no_layer_is_hidden_by_a_small_scale():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.gamma = nn.Parameter(torch.full((4,), 1e-6))

    with fixed_weights(model := Scaled()):
        assert (model.gamma > 0.5).all()
