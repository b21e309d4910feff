from statistics import fmean

import pytest
import torch
from torch import Tensor, nn

from mmmuse.errors import InputError
from mmmuse.losses import FitNetLoss, build_loss
from mmmuse.tapping.features import DistillFeatures, FeatureSpec, NetworkSpecs, Step

from .shapes import within

FITNET = 'mmmuse.FitNetLoss'


def specs(*features: tuple[int, int | None]) -> NetworkSpecs:
    """Of features with so many channels on a square grid of this side, or without one."""
    *shallow, last = (
        FeatureSpec(c, None if side is None else (side, side)) for c, side in features
    )
    return NetworkSpecs(tuple(shallow), last)


STUDENT, TEACHER = ((3, 8), (4, 8), (6, 4)), ((5, 8), (6, 4), (7, 4))


def maps(features: tuple, requires_grad: bool = False) -> DistillFeatures:
    *shallow, last = (
        torch.randn(2, channels, side, side, requires_grad=requires_grad)
        for channels, side in features
    )
    return DistillFeatures(tuple(shallow), last)


def test_is_the_mean_square_of_what_is_left():
    loss = FitNetLoss(*within([1], 1), loss_weight=3.0)
    loss.regressors[0] = nn.Identity()
    own, last = torch.tensor([[[[1.0, 2.0]]]]), torch.tensor([[[[4.0, 0.0]]]])
    losses = loss(Step.within(DistillFeatures((own,), last)))
    assert set(losses) == {'loss_fitnet'}
    assert losses['loss_fitnet'].item() == pytest.approx(3 * (9 + 4) / 2)


def pooled_in_pairs(feature: Tensor) -> Tensor:
    """The mean of each two by two places."""
    rows = (feature[..., ::2, :] + feature[..., 1::2, :]) / 2
    return (rows[..., ::2] + rows[..., 1::2]) / 2


def slow_regressed(regressor: nn.Sequential, feature: Tensor) -> Tensor:
    """A 1x1 convolution, then zero mean and unit variance over images and places."""
    values = torch.einsum('oc,nchw->nohw', regressor[0].weight[:, :, 0, 0], feature)
    mean = values.mean((0, 2, 3), keepdim=True)
    variance = (values - mean).square().mean((0, 2, 3), keepdim=True)
    return (values - mean) / (variance + 1e-5).sqrt()


def test_each_module_is_regressed_to_the_same_one_of_the_teacher_and_they_are_summed():
    loss = build_loss(dict(type=FITNET, loss_weight=2.0), specs(*STUDENT), specs(*TEACHER))
    own, other = maps(STUDENT), maps(TEACHER)
    first, second, third = own.modules
    expected = 0.0
    with torch.no_grad():
        for regressor, feature, target in zip(
            loss.regressors, (first, pooled_in_pairs(second), third), other.modules
        ):
            squares = (slow_regressed(regressor, feature) - target) ** 2
            expected += 2 * fmean(squares.flatten().tolist())
    value = loss(Step(own, other, []))['loss_fitnet']
    assert value.item() == pytest.approx(expected, rel=1e-4)


def test_within_a_network_every_regressor_gives_the_last_maps_channels():
    loss = FitNetLoss(*within([3, 4], 6))
    assert [regressor[0].out_channels for regressor in loss.regressors] == [6, 6]
    assert loss(Step.within(maps(STUDENT)))['loss_fitnet'].isfinite()


def test_one_module_in_the_middle_is_chosen_by_its_number():
    loss = build_loss(dict(type=FITNET, modules=[2]), specs(*STUDENT), specs(*TEACHER))
    (regressor,) = loss.regressors
    assert regressor[0].weight.shape == (6, 4, 1, 1)
    own, other = maps(STUDENT, requires_grad=True), maps(TEACHER)
    loss(Step(own, other, []))['loss_fitnet'].backward()
    assert [feature.grad is not None for feature in own.modules] == [False, True, False]


def test_every_parameter_and_the_student_get_a_gradient_and_the_teacher_none():
    loss = build_loss(dict(type=FITNET), specs(*STUDENT), specs(*TEACHER))
    own, other = maps(STUDENT, requires_grad=True), maps(TEACHER, requires_grad=True)
    loss(Step(own, other, []))['loss_fitnet'].backward()
    parameters = list(loss.parameters())
    assert len(parameters) == 9  # Weights of a convolution and of a norm, and its biases.
    assert all(parameter.grad.abs().sum() > 0 for parameter in parameters)
    assert all(feature.grad.abs().sum() > 0 for feature in own.modules)
    assert all(feature.grad is None for feature in other.modules)


def test_it_falls_as_the_regressor_learns():
    own, other = torch.randn(4, 3, 4, 4), torch.randn(5, 3)
    target = torch.einsum('oc,nchw->nohw', other, own)  # What a 1x1 convolution can give.
    loss = FitNetLoss(*within([3], 5), loss_weight=1.0)
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.05)
    values = []
    for _ in range(150):
        optimizer.zero_grad()
        total = loss(Step.within(DistillFeatures((own,), target)))['loss_fitnet']
        total.backward()
        optimizer.step()
        values.append(total.item())
    assert values[-1] < 0.05 * values[0]


def test_bfloat16_autocast_gives_a_float32_loss_near_the_full_precision():
    loss = build_loss(dict(type=FITNET), specs(*STUDENT), specs(*TEACHER))
    features = Step(maps(STUDENT), maps(TEACHER), [])
    full = loss(features)['loss_fitnet']
    with torch.autocast('cpu', dtype=torch.bfloat16):
        half = loss(features)['loss_fitnet']
    assert half.dtype == torch.float32
    assert torch.isclose(half, full, rtol=0.05)
    half.backward()
    assert all(parameter.grad.isfinite().all() for parameter in loss.parameters())


def test_the_only_feature_of_a_source_is_the_target_of_the_last_module_or_of_the_chosen_ones():
    by_default = build_loss(dict(type=FITNET), specs(*STUDENT), specs(TEACHER[2]))
    chosen = build_loss(dict(type=FITNET, modules=[1, 2]), specs(*STUDENT), specs(TEACHER[2]))
    own, other = maps(STUDENT), maps(TEACHER[2:])
    step = Step(own, other, [])
    for loss, modules in ((by_default, [2]), (chosen, [0, 1])):
        compared = [id(local) for local, _ in loss.pairs(step)]
        assert compared == [id(own.modules[i]) for i in modules]
        assert all(target is other.last for _, target in loss.pairs(step))
        assert loss(step)['loss_fitnet'].isfinite()


@pytest.mark.parametrize(
    ('student', 'teacher', 'options', 'message'),
    [
        (((3, 8), (4, None)), TEACHER[:2], {}, 'module 2 of a network is a vector'),
        (STUDENT, (*TEACHER[:2], (7, None)), {}, 'module 3 of a network is a vector'),
        (STUDENT, TEACHER[1:], {}, 'taps has 3 of them, taps 2'),
        (STUDENT[1:], TEACHER, {}, 'taps has 2 of them, taps 3'),
        (STUDENT, TEACHER[1:], dict(modules=[3]), r'compares modules \[3\] .* taps 2'),
        (STUDENT, TEACHER, dict(modules=[4]), r'modules are numbers from 1 to 3.*got \[4\]'),
        (STUDENT, TEACHER, dict(modules=[]), r'modules are numbers from 1 to 3.*got \[\]'),
        (STUDENT, TEACHER[2:], dict(modules=[]), r'modules are numbers from 1 to 3.*got \[\]'),
    ],
)
def test_networks_and_modules_that_do_not_fit_are_refused(student, teacher, options, message):
    with pytest.raises(InputError, match=f'FitNetLoss.*{message}') as raised:
        build_loss(dict(type=FITNET, **options), specs(*student), specs(*teacher))
    assert '\n' not in str(raised.value)


def test_a_vector_in_a_step_is_refused():
    with pytest.raises(InputError, match=r'a map .* needed, got shape \(2, 3\)'):
        FitNetLoss(*within([3], 4))(
            Step.within(DistillFeatures((torch.randn(2, 3),), torch.randn(2, 4)))
        )
