from types import SimpleNamespace

import torch
from torch import nn

from mmmuse.hooks import ChannelsLastHook

from ..conftest import labelled, small_distiller


def test_weights_of_convolutions_are_kept_channels_last_and_losses_stay_the_same():
    distiller = small_distiller()
    x, samples = torch.randn(4, 3, 16, 16), labelled([0, 1, 2, 3])
    for critic in distiller.modules():
        if hasattr(critic, 'num_locations'):
            critic.num_locations = None
    expected = distiller(x, samples, mode='loss')
    ChannelsLastHook().before_run(SimpleNamespace(model=distiller))
    convolutions = [module for module in distiller.modules() if isinstance(module, nn.Conv2d)]
    assert all(
        conv.weight.is_contiguous(memory_format=torch.channels_last) for conv in convolutions
    )
    losses = distiller(x, samples, mode='loss')
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value, rtol=1e-4, atol=1e-6, msg=name)


def test_features_are_channels_last():
    distiller = small_distiller()
    ChannelsLastHook().before_run(SimpleNamespace(model=distiller))
    with distiller.taps:
        distiller.student(torch.randn(4, 3, 16, 16))
        feature = distiller.taps.pop()['backbone.layer1']
    assert feature.is_contiguous(memory_format=torch.channels_last)
    assert not feature.is_contiguous()
