import pytest
import torch
from mmdet.models.backbones import CSPDarknet
from torch import nn

from mmmuse.errors import InputError
from mmmuse.tapping.backbone_outputs import output_paths


class Toy(nn.Module):
    """A stem and a stage of two layers; a test selects the outputs."""

    def __init__(self, outputs) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.stage = nn.Sequential(nn.BatchNorm2d(4), nn.ReLU())
        self.outputs = outputs

    def forward(self, x):
        first = self.stem(x)
        return self.outputs(first, self.stage(first))


def test_the_stages_of_a_csp_darknet_are_named_in_the_order_of_its_outputs():
    backbone = CSPDarknet(widen_factor=0.125, deepen_factor=0.33)
    assert output_paths(backbone) == ['stage2', 'stage3', 'stage4']
    backbone = CSPDarknet(widen_factor=0.125, deepen_factor=0.33, out_indices=(0, 4))
    assert output_paths(backbone, (3, 32, 64)) == ['stem', 'stage4']


@pytest.mark.parametrize(
    ('outputs', 'paths'),
    [
        (lambda first, second: (first, second), ['stem', 'stage']),
        (lambda first, second: [second, first], ['stage', 'stem']),
        (lambda first, second: (second,), ['stage']),
        (lambda first, second: second, ['stage']),
        (lambda first, second: (first, first), ['stem', 'stem']),
    ],
    ids=['both', 'the other way round', 'one in a tuple', 'a tensor', 'one twice'],
)
def test_each_output_is_named_by_the_outermost_module_that_puts_it_out(outputs, paths):
    """The output of the stage is that of its last layer."""
    assert output_paths(Toy(outputs)) == paths


@pytest.mark.parametrize(
    ('outputs', 'number'),
    [
        (lambda first, second: (first, second * 2), 1),
        (lambda first, second: first + second, 0),
        (lambda first, second: (first.clone(), second), 0),
    ],
)
def test_an_output_of_no_module_is_named_by_its_number(outputs, number):
    with pytest.raises(InputError, match=f'output {number} of Toy is not the output of any submod'):
        output_paths(Toy(outputs))


def test_the_backbone_is_left_as_it_was():
    toy = Toy(lambda first, second: (first, second))
    toy.stage.eval()
    before = {name: value.clone() for name, value in toy.state_dict().items()}
    output_paths(toy)
    with pytest.raises(InputError):
        output_paths(Toy(lambda first, second: first * 1))
    assert toy.training
    assert not toy.stage.training
    for name, value in toy.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not any(module._forward_hooks for module in toy.modules())
