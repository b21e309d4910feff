"""Where modules end in networks of a few layers."""

import torch
from torch import nn

from mmmuse.tapping.dry_run import dry_run
from mmmuse.tapping.forward_trace import ForwardTrace
from mmmuse.tapping.module_ends import module_ends


def conv(channels: int, stride: int = 1) -> nn.Sequential:
    layer = nn.LazyConv2d(channels, 3, stride, 1)
    return nn.Sequential(layer, nn.BatchNorm2d(channels), nn.ReLU(inplace=True))


class Residual(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.layers = nn.Sequential(conv(channels), conv(channels))

    def forward(self, x):
        return x + self.layers(x)


class Stage(nn.Sequential):
    """Blocks, and a reduction at the end: a layer, then one with a stride."""

    def __init__(self, channels: int):
        super().__init__()
        self.block0, self.block1 = Residual(channels), Residual(channels)
        self.reduction = nn.Sequential(conv(2 * channels), conv(2 * channels, 2))


class Model(nn.Module):
    def __init__(self, **parts: nn.Module):
        super().__init__()
        self.backbone = nn.Sequential()
        for name, part in parts.items():
            (self if name == 'neck' else self.backbone).add_module(name, part)

    def forward(self, inputs):
        feature = self.backbone(inputs)
        return self.neck(feature) if hasattr(self, 'neck') else feature


def ends(model: nn.Module, num_modules: int) -> list[str]:
    model(torch.zeros(2, 3, 32, 32))  # The number of input channels.
    trace = dry_run(model, lambda forward, shape: ForwardTrace(model, forward, shape), (3, 32, 32))
    return [call.path for call in module_ends(trace, num_modules)]


def test_a_module_ends_before_the_block_that_reduces_the_resolution():
    model = Model(stem=conv(8), a=Stage(8), b=Stage(16))
    assert ends(model, 3) == ['backbone.a.block1', 'backbone.b.block1', 'backbone.b.reduction']


def test_the_reducing_block_is_divided_if_there_are_too_few_modules():
    reduction = nn.Sequential(nn.LazyConv2d(16, 3, 1, 1), nn.LazyConv2d(16, 3, 2, 1))
    model = Model(a=nn.LazyConv2d(8, 3, 1, 1), b=reduction)
    assert ends(model, 2) == ['backbone.a', 'backbone.b']
    assert ends(model, 3) == ['backbone.a', 'backbone.b.0', 'backbone.b.1']


def test_a_neck_is_not_cut():
    model = Model(a=conv(8), b=conv(16, 2), neck=nn.Sequential(conv(32, 2), conv(64, 2)))
    assert ends(model, 2) == ['backbone.a', 'backbone.b']


def test_a_stem_of_few_parameters_is_no_module():
    model = Model(stem=conv(2), a=conv(64, 2), b=nn.Sequential(conv(64, 2), conv(64)))
    assert ends(model, 2) == ['backbone.a', 'backbone.b']
    assert ends(model, 3) == ['backbone.a', 'backbone.b.0', 'backbone.b']


class Branches(nn.Module):
    """Keeps a high resolution and a low one, and returns both."""

    def __init__(self):
        super().__init__()
        self.high, self.low = conv(8), conv(16)

    def forward(self, maps):
        high, low = maps
        return [self.high(high), self.low(low)]


class TwoResolutions(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.down = conv(8), conv(16, 2)
        self.first, self.second = Branches(), Branches()

    def forward(self, x):
        x = self.stem(x)
        return self.second(self.first([x, self.down(x)]))


def test_of_several_outputs_the_one_of_the_lowest_resolution_is_tapped():
    model = nn.Module()
    model.backbone = TwoResolutions()
    model.forward = model.backbone.__call__
    assert ends(model, 2) == ['backbone.stem', 'backbone.second[1]']
    assert ends(model, 3) == ['backbone.stem', 'backbone.first[1]', 'backbone.second[1]']


def test_a_module_ends_with_what_the_next_one_reads():
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.main, self.side, self.down = conv(8), conv(8), conv(16, 2)

        def forward(self, x):
            x = self.main(x)
            side = self.side(x)
            return self.down(x), side.mean()

    model = nn.Module()
    model.backbone = Network()
    model.forward = model.backbone.__call__
    assert ends(model, 2) == ['backbone.main', 'backbone.down']
