import copy
import math

import pytest
import torch
from torch import nn

from mmmuse.distillers.one import BranchGate
from mmmuse.errors import InputError
from mmmuse.registry import MODELS

from ..conftest import labelled, small_classifier_config
from .rivals import BRANCH, rival

LABELS = [0, 3, 1, 2]


def test_losses_are_those_of_every_branch_and_of_the_gated_mix():
    distiller = rival('one', temperature=2.0, kd_weight=0.5, ramp=0.0)
    for classifier in (distiller.student.head, *distiller.classifiers):
        nn.init.normal_(classifier.fc.weight)
    seen = {}
    for name, module in (
        (1, distiller.student.head),
        (2, distiller.classifiers[0]),
        (3, distiller.classifiers[1]),
        ('gate', distiller.gate),
    ):
        module.register_forward_hook(lambda _, args, out, name=name: seen.update({name: out}))
    losses = distiller(torch.randn(4, 3, 16, 16), labelled(LABELS), mode='loss')
    logits = [seen[b].double() for b in (1, 2, 3)]
    mix = torch.zeros(4, 5, dtype=torch.float64)
    for n in range(4):
        for b in range(3):
            mix[n] += seen['gate'][n, b].double() * logits[b][n]

    def cross_entropy(z):
        return -sum(z[n].log_softmax(0)[label] for n, label in enumerate(LABELS)).item() / 4

    def kd(z):
        p, q = (mix / 2).softmax(1), (z / 2).softmax(1)
        return 4 * (p * (p.log() - q.log())).sum().item() / 4

    expected = {
        'loss_student': cross_entropy(logits[0]),
        'mix.loss_ce': cross_entropy(mix),
        'branch2.loss_ce': cross_entropy(logits[1]),
        'branch3.loss_ce': cross_entropy(logits[2]),
        **{f'branch{b}.loss_kd': 0.5 * kd(logits[b - 1]) for b in (1, 2, 3)},
    }
    assert {name: value.item() for name, value in losses.items()} == pytest.approx(
        expected, rel=1e-3
    )


def test_the_mix_learns_from_its_own_loss_alone():
    distiller = rival('one')
    losses = distiller(torch.randn(4, 3, 16, 16), labelled(LABELS), mode='loss')
    sum(losses[f'branch{b}.loss_kd'] for b in (1, 2, 3)).backward(retain_graph=True)
    assert distiller.gate.linear.weight.grad is None
    losses['mix.loss_ce'].backward()
    assert distiller.gate.linear.weight.grad is not None


def test_branches_share_the_feature_below_and_nothing_above():
    distiller = rival('one')
    losses = distiller(torch.randn(4, 3, 16, 16), labelled(LABELS), mode='loss')
    losses['branch2.loss_ce'].backward()
    backbone = distiller.student.backbone
    assert all(parameter.grad is not None for parameter in backbone.layer3.parameters())
    assert all(parameter.grad is None for parameter in backbone.layer4.parameters())
    assert all(parameter.grad is None for parameter in distiller.branches[1].parameters())


def test_the_gate_is_pool_linear_norm_relu_softmax():
    gate = BranchGate(2, 3).double()
    feature = torch.randn(4, 2, 3, 3, dtype=torch.float64)
    scores = []
    for n in range(4):
        pooled = [sum(feature[n, c].flatten().tolist()) / 9 for c in range(2)]
        scores.append(
            [
                sum(w * x for w, x in zip(row, pooled)) + bias
                for row, bias in zip(gate.linear.weight.tolist(), gate.linear.bias.tolist())
            ]
        )
    found = gate(feature).tolist()
    for b in range(3):
        column = [row[b] for row in scores]
        mean = sum(column) / 4
        spread = math.sqrt(sum((x - mean) ** 2 for x in column) / 4 + 1e-5)
        for n in range(4):
            scores[n][b] = max((column[n] - mean) / spread, 0.0)
    for n in range(4):
        total = sum(math.exp(x) for x in scores[n])
        assert found[n] == pytest.approx([math.exp(x) / total for x in scores[n]])


def test_the_kl_is_ramped_up_over_a_part_of_the_training(hub):
    distiller, images = rival('one', ramp=0.4), torch.randn(4, 3, 16, 16)
    kd = {}
    for i in (0, 20, 40, 90):
        hub.update_info_dict(dict(iter=i, max_iters=100))
        kd[i] = distiller(images, labelled(LABELS), mode='loss')['branch2.loss_kd'].item()
    assert kd[90] == kd[40] > 0
    assert kd[20] / kd[40] == pytest.approx(math.exp(-1.25), rel=1e-4)
    assert kd[0] / kd[40] == pytest.approx(math.exp(-5), rel=1e-4)


@pytest.mark.parametrize('built', [False, True], ids=['config', 'built'])
def test_branches_start_from_weights_of_their_own(built):
    student = small_classifier_config()
    if built:
        student = MODELS.build(student)
        student.init_weights()
        weights = copy.deepcopy(student.state_dict())
    distiller = rival('one', student=student)
    if built:
        for name, value in distiller.student.state_dict().items():
            assert torch.equal(value, weights[name])
    first = [
        layer4[0].conv1.weight
        for layer4 in (distiller.student.backbone.layer4, *(tail[0] for tail in distiller.branches))
    ]
    assert not any(torch.equal(first[i], first[j]) for i, j in ((0, 1), (0, 2), (1, 2)))


def test_branches_of_a_config_are_initialised_as_the_student_is():
    distiller = rival('one')
    weight = distiller.branches[0][0][0].conv1.weight  # Of 64 channels, 3 x 3.
    # ResNet's, Kaiming by fan out, unlike PyTorch's default of sqrt(1 / (3 fan_in)) = 0.034.
    assert weight.std().item() == pytest.approx(math.sqrt(2 / (64 * 9)), rel=0.05)
    before = copy.deepcopy(distiller.branches.state_dict())
    distiller.init_weights()
    for name, value in distiller.branches.state_dict().items():
        assert torch.equal(value, before[name])
    assert distiller.classifiers[0].fc.weight.std().item() == pytest.approx(0.01, rel=0.2)


def test_the_shared_feature_need_not_be_among_the_other_taps():
    distiller = rival('one', taps=dict(logits='head'), num_branches=2)
    losses = distiller(torch.randn(4, 3, 16, 16), labelled(LABELS), mode='loss')
    assert set(losses) == {
        'loss_student',
        'mix.loss_ce',
        'branch2.loss_ce',
        'branch1.loss_kd',
        'branch2.loss_kd',
    }


@pytest.mark.parametrize(
    'branch',
    [
        dict(BRANCH, after='backbone.layer2'),
        dict(BRANCH, after='backbone.layer4'),
        dict(BRANCH, modules=['backbone.layer4']),
        dict(BRANCH, modules=['neck']),
        dict(BRANCH, modules=['neck', 'backbone.layer4']),
        dict(after='backbone.layer2', modules=['backbone.layer4', 'neck']),
        dict(after='backbone.layer1', modules=['backbone.layer2', 'backbone.layer4', 'neck']),
    ],
)
def test_what_is_not_the_networks_own_tail_is_refused(branch):
    with pytest.raises(InputError, match="do not return the input of 'head'"):
        rival('one', branch=branch)


def test_a_longer_tail_is_the_networks_own_too():
    branch = dict(after='backbone.layer2', modules=['backbone.layer3', 'backbone.layer4', 'neck'])
    rival('one', branch=branch)(torch.randn(4, 3, 16, 16), labelled(LABELS), mode='loss')


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(branch=dict(after='backbone.layer3')), 'branch is dict'),
        (dict(branch=dict(BRANCH, modules='neck')), 'branch is dict'),
        (
            dict(branch=dict(BRANCH, modules=[])),
            'modules is a list of strings with at least 1 item',
        ),
        (dict(branch=dict(BRANCH, modules=['backbone.layer5'])), 'backbone.layer4'),
        (dict(branch=dict(BRANCH, after='backbone.layer5')), 'backbone.layer4'),
        (dict(num_branches=1), 'num_branches is an integer from 2 to 1000, got 1'),
        (dict(ramp=1.5), 'ramp is a number from 0 to 1, got 1.5'),
        (dict(ramp=-0.1), 'ramp is a number from 0 to 1, got -0.1'),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        rival('one', **options)


def test_a_batch_of_one_is_refused():
    with pytest.raises(InputError, match='at least 2 images'):
        rival('one')(torch.randn(1, 3, 16, 16), labelled([0]), mode='loss')


def test_building_does_not_change_the_students_buffers_and_modes():
    student = MODELS.build(small_classifier_config()).train()
    before = copy.deepcopy(student.state_dict())
    rival('one', student=student)
    assert all(module.training for module in student.modules())
    for name, value in student.state_dict().items():
        assert torch.equal(value, before[name])
