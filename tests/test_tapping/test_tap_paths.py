"""``taps='last'``: the last output of a backbone."""

import pytest
import torch
from mmengine.model import BaseModel
from torch import nn

from mmmuse.errors import InputError
from mmmuse.registry import MODELS
from mmmuse.tapping.backbone_outputs import last_output
from mmmuse.tapping.tap_paths import read_taps
from mmmuse.tapping.taps import FeatureTaps
from mmmuse.tapping.unused_parameters import unused_parameters

from ..conftest import small_classifier_config


class Model(BaseModel):
    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return self.backbone(inputs)


class Stages(nn.Module):
    """Two outputs, each with a layer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stage = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 8, 1)
        self.norm0, self.norm1 = nn.BatchNorm2d(4), nn.BatchNorm2d(8)

    def forward(self, x):
        x = self.stem(x)
        return self.norm0(x), self.norm1(self.stage(x))


@pytest.mark.parametrize(
    ('backbone', 'path'), [(nn.Conv2d(3, 4, 3), 'backbone'), (Stages(), 'backbone[1]')]
)
def test_it_is_the_output_of_the_backbone_or_the_last_of_several(backbone, path):
    model = Model(backbone)
    assert last_output(model) == path
    assert read_taps('last', model, None, needs_features=False) == ([], path, None)
    taps = FeatureTaps(model, [path])
    image = torch.randn(1, 3, 8, 8)
    with taps:
        output = model(image)
        tapped = taps.pop()[path]
    assert tapped is (output if isinstance(output, torch.Tensor) else output[-1])


def test_of_a_network_without_a_backbone_it_is_proposed_or_named_by_itself():
    model = MODELS.build(small_classifier_config())
    model.trunk, model.extract_feat = model.backbone, None
    del model.backbone
    model.forward = lambda inputs, mode='tensor': model.head(model.neck(model.trunk(inputs)))
    assert read_taps('last', model, None, needs_features=False).last == 'trunk.layer4'
    model.default_taps = dict(last='trunk.layer2', logits='head')
    assert read_taps('last', model, None, needs_features=False) == ([], 'trunk.layer2', None)


def test_where_shallow_modules_are_needed_it_is_refused():
    with pytest.raises(InputError, match="taps is a dict or 'auto', got 'last'"):
        read_taps('last', Model(Stages()), None)


def test_parameters_that_no_feature_depends_on_are_found():
    model = Model(Stages())
    model.backbone.stem.bias.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    taps = FeatureTaps(model, ['backbone[1]'])
    assert set(unused_parameters(model, taps)) == {'backbone.norm0.weight', 'backbone.norm0.bias'}
    both = FeatureTaps(model, ['backbone[1]', 'backbone.norm0'])
    assert unused_parameters(model, both) == {}
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(value.grad is None for value in model.parameters())
    assert all(module.training for module in model.modules())
