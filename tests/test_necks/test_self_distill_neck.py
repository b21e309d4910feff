import pytest
import torch
from torch import nn

from mmmuse.errors import InputError
from mmmuse.necks import SelfDistillNeck


def test_every_exit_has_the_channels_and_resolution_of_the_last_feature():
    neck = SelfDistillNeck([8, 16, 32], 64, [8, 4, 2])
    features = [torch.randn(2, 8, 32, 32), torch.randn(2, 16, 16, 16), torch.randn(2, 32, 8, 8)]
    assert [tuple(exit_map.shape) for exit_map in neck(features)] == [(2, 64, 4, 4)] * 3


def test_a_bottleneck_is_byots():
    # 1x1 to a quarter, k x k of stride k, 1x1 to C_T; each with norm and ReLU, no bias.
    neck = SelfDistillNeck([8], 64, [4])
    layers = [
        module
        for module in neck.branches[0].modules()
        if isinstance(module, (nn.Conv2d, nn.BatchNorm2d, nn.ReLU))
    ]
    assert [type(layer) for layer in layers] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU] * 3
    convs = layers[::3]
    assert [
        (conv.in_channels, conv.out_channels, conv.kernel_size[0], conv.stride[0]) for conv in convs
    ] == [(8, 16, 1, 1), (16, 16, 4, 4), (16, 64, 1, 1)]
    assert all(conv.bias is None for conv in convs)


def test_equals_the_layers_one_after_another():
    neck = SelfDistillNeck([3], 8, [2]).eval()
    x = torch.randn(2, 3, 4, 4)
    expected = x
    for module in neck.branches[0].modules():
        if isinstance(module, (nn.Conv2d, nn.BatchNorm2d)):
            expected = module(expected)
            if isinstance(module, nn.BatchNorm2d):
                expected = expected.relu()
    torch.testing.assert_close(neck([x])[0], expected)


def test_tokens_become_the_map_they_came_from_without_their_prefix():
    neck = SelfDistillNeck([6, 6, 6], 8, [2, 2, 2], num_prefix_tokens=[0, 0, 2]).eval()
    for bottleneck in neck.branches[1:]:
        bottleneck.load_state_dict(neck.branches[0].state_dict())
    feature = torch.randn(2, 6, 4, 4)
    tokens = feature.flatten(2).transpose(1, 2)
    behind_two = torch.cat([torch.randn(2, 2, 6), tokens], 1)
    of_map, of_tokens, of_prefixed = neck([feature, tokens, behind_two])
    assert of_map.shape == (2, 8, 2, 2)
    assert torch.equal(of_tokens, of_map)
    assert torch.equal(of_prefixed, of_map)


def test_a_vector_is_a_map_of_one_place():
    neck = SelfDistillNeck([6], 8, [1])
    assert neck([torch.randn(2, 6)])[0].shape == (2, 8, 1, 1)


def test_the_width_of_a_narrow_network_stays_at_least_one():
    neck = SelfDistillNeck([3], 2, [1])
    assert neck([torch.randn(2, 3, 4, 4)])[0].shape == (2, 2, 4, 4)


def test_norm_layers_can_be_chosen():
    neck = SelfDistillNeck([3], 8, [1], norm_cfg=dict(type='GN', num_groups=2))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in neck.modules())
    assert sum(isinstance(module, nn.GroupNorm) for module in neck.modules()) == 3


@pytest.mark.parametrize(
    ('strides', 'prefixes', 'message'),
    [
        ([2], None, '2 in_channels, 1 strides'),
        ([2, 2], [0], '1 num_prefix_tokens'),
    ],
)
def test_lists_of_two_lengths_are_refused_with_the_lengths(strides, prefixes, message):
    with pytest.raises(InputError, match=message):
        SelfDistillNeck([3, 4], 8, strides, prefixes)


def test_another_number_of_features_is_refused():
    neck = SelfDistillNeck([3, 4], 8, [2, 1])
    with pytest.raises(InputError, match='2 exits and got 1 features'):
        neck([torch.randn(2, 3, 4, 4)])


def test_tokens_that_are_no_square_are_refused_with_their_number():
    neck = SelfDistillNeck([3], 8, [1], num_prefix_tokens=[1])
    with pytest.raises(InputError, match='6 tokens after 1 prefix'):
        neck([torch.randn(2, 7, 3)])
