import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from mmmuse.errors import InputError
from mmmuse.optim import ThreeGroupsConstructor

SGD = dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.05)


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 2)
        self.gain = nn.Parameter(torch.ones(()))
        self.fc_again = self.fc  # Shared, and still one parameter.


def groups(model: nn.Module, **options) -> dict[str, dict]:
    config = dict(
        constructor='mmmuse.ThreeGroupsConstructor', optimizer=SGD, type='OptimWrapper', **options
    )
    optimizer = build_optim_wrapper(model, config).optimizer
    return {group['name']: group for group in optimizer.param_groups}


def members(group: dict, model: nn.Module) -> set[str]:
    return {
        name
        for name, parameter in model.named_parameters()
        if any(parameter is member for member in group['params'])
    }


def test_weights_scales_and_biases_are_groups():
    model = Network()
    found = groups(model)
    assert list(found) == ['weight', 'scale', 'bias']
    assert members(found['weight'], model) == {'conv.weight', 'fc.weight'}
    assert members(found['scale'], model) == {'norm.weight', 'gain'}
    assert members(found['bias'], model) == {'conv.bias', 'norm.bias', 'fc.bias'}


def test_only_weights_decay():
    found = groups(Network())
    assert {name: group['weight_decay'] for name, group in found.items()} == dict(
        weight=0.05, scale=0, bias=0
    )
    assert {(group['lr'], group['momentum']) for group in found.values()} == {(0.01, 0.9)}


def test_every_parameter_that_learns_is_in_one_group_once():
    model = Network()
    listed = [id(parameter) for group in groups(model).values() for parameter in group['params']]
    assert len(listed) == len(set(listed))
    assert set(listed) == {id(parameter) for parameter in model.parameters()}


def test_frozen_parameters_are_in_none():
    model = Network()
    model.conv.requires_grad_(False)
    model.norm.bias.requires_grad_(False)
    found = groups(model)
    assert members(found['weight'], model) == {'fc.weight'}
    assert members(found['bias'], model) == {'fc.bias'}
    assert sum(len(group['params']) for group in found.values()) == 4


def test_a_group_without_members_is_left_out():
    assert list(groups(nn.Linear(3, 2, bias=False))) == ['weight']


def test_a_step_decays_weights_and_nothing_else():
    model = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    for parameter in model.parameters():
        nn.init.ones_(parameter)
        parameter.grad = torch.zeros_like(parameter)
    wrapper = ThreeGroupsConstructor(dict(optimizer=dict(type='SGD', lr=0.5, weight_decay=0.5)))
    wrapper(model).step()
    assert torch.equal(model[0].weight, torch.full((2, 2), 0.75))
    for kept in (model[0].bias, model[1].weight, model[1].bias):
        assert torch.equal(kept, torch.ones(2))


def test_the_config_of_the_wrapper_is_kept_and_not_changed():
    config = dict(optimizer=dict(SGD), accumulative_counts=4)
    constructor = ThreeGroupsConstructor(config)
    first, second = constructor(Network()), constructor(Network())
    assert first._accumulative_counts == second._accumulative_counts == 4
    assert config == dict(optimizer=SGD, accumulative_counts=4)


def test_a_configuration_of_parameters_is_refused():
    with pytest.raises(InputError, match='reads no paramwise_cfg'):
        groups(Network(), paramwise_cfg=dict(bias_lr_mult=2))
