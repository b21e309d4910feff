import copy

import torch
from torch import nn

from mmmuse.distillers import FrozenNetwork
from mmmuse.registry import MODELS

from ..conftest import small_classifier_config


class Holder(nn.Module):
    """A distiller in small."""

    def __init__(self, student: nn.Module, **options) -> None:
        super().__init__()
        self.student = student
        self.teacher = FrozenNetwork.copy_of(student, ['backbone.layer4', 'head'], **options)

    def _apply(self, fn, *args, **kwargs):
        self.teacher.convert(fn)
        return super()._apply(fn, *args, **kwargs)


def student() -> nn.Module:
    return MODELS.build(small_classifier_config()).train()


def test_it_predicts_what_the_network_was_without_gradient():
    model, images = student(), torch.randn(2, 3, 16, 16)
    expected = copy.deepcopy(model).eval()(images)
    teacher = FrozenNetwork.copy_of(model, ['backbone.layer4', 'head'])
    nn.init.zeros_(model.head.fc.weight)
    features = teacher(images)
    assert list(features) == ['backbone.layer4', 'head']
    assert features['backbone.layer4'].shape == (2, 64, 2, 2)
    assert torch.equal(features['head'], expected)
    assert not features['head'].requires_grad


def test_the_network_itself_stays_as_it_is():
    model = student()
    before = copy.deepcopy(model.state_dict())
    FrozenNetwork.copy_of(model, ['head'])(torch.randn(2, 3, 16, 16))
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_in_training_mode_it_takes_the_batchs_statistics():
    model, images = student(), torch.randn(4, 3, 16, 16)
    expected = copy.deepcopy(model)(images)
    assert torch.equal(
        FrozenNetwork.copy_of(model, ['head'], training=True)(images)['head'], expected
    )


def test_nothing_of_it_is_among_the_modules_of_who_holds_it():
    holder = Holder(student())
    assert {name.partition('.')[0] for name in holder.state_dict()} == {'student'}
    assert len(list(holder.parameters())) == len(list(holder.student.parameters()))
    holder.train()
    assert not any(module.training for module in holder.teacher.model.modules())


def test_it_follows_who_holds_it():
    holder = Holder(student()).double()
    assert holder.teacher(torch.randn(2, 3, 16, 16).double())['head'].dtype == torch.float64


def test_a_deep_copy_shares_the_network_until_either_is_converted():
    holder = Holder(student())
    twin, images = copy.deepcopy(holder), torch.randn(2, 3, 16, 16)
    assert twin.teacher.model is holder.teacher.model
    twin.double()
    assert twin.teacher(images.double())['head'].dtype == torch.float64
    assert holder.teacher(images)['head'].dtype == torch.float32
