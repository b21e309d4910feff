import math

import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper
from torch import nn

from mmmuse.distillers import gradient_balance
from mmmuse.distillers.gradient_balance import GradientBalance, _square
from mmmuse.errors import InputError
from mmmuse.registry import MODELS

from ..conftest import labelled
from ..two_processes import in_two_processes
from .transfer import MUSE, batch, network, offline

LOSSES = [
    dict(type='mmmuse.KDLoss', loss_weight=0.5),
    dict(type='mmmuse.FitNetLoss', modules=[3], loss_weight=2.0),
    dict(type='mmmuse.AttentionTransferLoss', modules=[2, 3, 4], loss_weight=30.0),
]


def gradient_length(loss, student: nn.Module) -> float:
    """By the backward pass of a step, parameter by parameter."""
    student.zero_grad()
    loss.backward(retain_graph=True)
    squares = 0.0
    for value in student.parameters():
        for number in [] if value.grad is None else value.grad.flatten().tolist():
            squares += number**2
    return squares**0.5


def test_loss_weight_is_the_length_relative_to_the_students_own_gradient():
    torch.manual_seed(0)
    distiller = offline(*LOSSES, loss_balance='gradient')
    images, samples = batch()
    distiller(images, samples, mode='loss')  # Measures.
    losses = distiller(images, samples, mode='loss')
    own, kd, fitnet, at = (
        gradient_length(losses[name], distiller.student)
        for name in ('loss_student', 'loss_kd', 'loss_fitnet', 'loss_at')
    )
    assert [kd / own, fitnet / own, at / own] == pytest.approx([0.5, 2.0, 30.0], rel=1e-3)
    factors = distiller.balance.factors.tolist()
    logged = [
        losses[f'balance.{name}Loss'].item() for name in ('KD', 'FitNet', 'AttentionTransfer')
    ]
    assert logged == pytest.approx(factors)


def test_critics_keep_their_own_weight():
    torch.manual_seed(0)
    distiller = offline({**MUSE, 'loss_weight': 0.25}, loss_balance='gradient')
    images, samples = batch()
    distiller(images, samples, mode='loss')
    torch.manual_seed(1)
    losses = distiller(images, samples, mode='loss')
    lengths = [
        gradient_length(losses[name], distiller.student) for name in ('loss_muse', 'loss_student')
    ]
    assert lengths[0] / lengths[1] == pytest.approx(0.25, rel=0.3)  # Other locations are drawn.
    of_critics = distiller.losses[0].parameters()
    distiller.zero_grad()
    losses['loss_muse'].backward(retain_graph=True)
    balanced = [value.grad.clone() for value in of_critics]
    distiller.balance = None
    distiller.losses[0].balance = 1.0
    torch.manual_seed(1)
    distiller.zero_grad()
    distiller(images, samples, mode='loss')['loss_muse'].backward()
    for value, expected in zip(distiller.losses[0].parameters(), balanced, strict=True):
        torch.testing.assert_close(value.grad, expected)


def test_a_teachers_weight_is_a_factor_on_the_relative_length():
    torch.manual_seed(0)
    networks = [MODELS.build(network(6)) for _ in range(2)]
    teachers = [
        dict(name='a', teacher=networks[0], losses=LOSSES[:1], weight=0.2),
        dict(name='b', teacher=networks[1], losses=LOSSES[1:2]),
    ]
    distiller = offline(losses=[], teacher=teachers, loss_balance='gradient')
    images, samples = batch()
    distiller(images, samples, mode='loss')
    losses = distiller(images, samples, mode='loss')
    own, kd, fitnet = (
        gradient_length(losses[name], distiller.student)
        for name in ('loss_student', 'a.loss_kd', 'b.loss_fitnet')
    )
    assert [kd / own, fitnet / own] == pytest.approx([0.2 * 0.5, 2.0], rel=1e-3)


# So short that in float32 its square is 0.
TINY = 1e-30


class Scaled:
    """A loss whose gradient has a given length."""

    name, balance = 'ScaledLoss', 1.0


def measured(
    balance: GradientBalance, lengths: list[float], own: float | None = None
) -> list[float]:
    """Take a step in which losses at factor 1 have gradients of these lengths."""
    value = nn.Parameter(torch.zeros(()))
    losses = [Scaled() for _ in lengths]
    balance.set_factors(losses)
    terms = [
        {'loss': loss.balance * length * value} if length else {}
        for loss, length in zip(losses, lengths, strict=True)
    ]
    task = {} if own is None else {'loss_own': own * value}
    weights = [loss.balance for loss in losses]
    balance.measure(losses, terms, task, weights, 1.0, [value])
    return balance.factors.tolist()


def test_the_first_measurement_counts_whole_and_others_by_momentum():
    balance = GradientBalance(2, interval=2, momentum=0.75)
    assert measured(balance, [4.0, 0.5], 2.0) == [0.5, 4.0]
    assert measured(balance, [1.0, 1.0], 2.0) == [0.5, 4.0]  # Is not measured.
    assert measured(balance, [1.0, 0.5], 2.0) == [0.75 * 0.5 + 0.25 * 2.0, 4.0]


def test_a_loss_that_starts_between_two_measurements_is_measured_in_its_first_step():
    balance = GradientBalance(2, interval=10, momentum=0.75)
    assert measured(balance, [4.0, 0.0], 2.0) == [0.5, 1.0]
    assert measured(balance, [9.0, 0.0], 2.0) == [0.5, 1.0]
    assert measured(balance, [9.0, 8.0], 2.0) == [0.5, 0.25]  # The other one is not measured.
    assert measured(balance, [9.0, 1.0], 2.0) == [0.5, 0.25]


def test_a_loss_without_gradient_is_measured_no_more_often_than_others(monkeypatch):
    taken = []

    def square(loss, parameters):
        taken.append(loss)
        return _square(loss, parameters)

    monkeypatch.setattr(gradient_balance, '_square', square)
    balance, value = GradientBalance(2, interval=10), nn.Parameter(torch.zeros(()))
    losses = [Scaled(), Scaled()]
    for _ in range(20):
        balance.set_factors(losses)
        terms = [{'loss': 3.0 * value}, {'loss': torch.ones(())}]
        balance.measure(losses, terms, {'loss_own': value}, [1.0, 1.0], 1.0, [value])
    assert len(taken) == 2 * 3  # In two steps, of the own loss and of both.


def test_a_resumed_run_measures_when_the_run_would_have():
    balance, resumed = (GradientBalance(1, interval=10) for _ in range(2))
    assert measured(balance, [TINY], 2.0) == [1.0]
    resumed.load_state_dict(balance.state_dict())
    for each in (balance, resumed):
        assert measured(each, [4.0], 2.0) == [1.0]
    older = balance.state_dict()
    del older['tried']
    resumed.load_state_dict(older)
    assert measured(resumed, [4.0], 2.0) == [0.5]


def test_a_gradient_that_is_not_finite_is_not_a_measurement():
    balance = GradientBalance(2, interval=2)
    assert measured(balance, [math.inf, 4.0], 2.0) == [1.0, 0.5]
    assert measured(balance, [8.0, 4.0], 2.0) == [1.0, 0.5]
    assert measured(balance, [8.0, 4.0], math.inf) == [1.0, 0.5]


@pytest.mark.parametrize('loss', [MUSE, dict(type='mmmuse.FitNetLoss', modules=[3])])
def test_factors_of_float16_are_those_of_float32(loss):
    factors = []
    for dtype in (torch.float16, torch.float32):
        torch.manual_seed(0)
        distiller = offline({**loss, 'loss_weight': 1e-3}, loss_balance='gradient')
        images, samples = batch()
        with torch.autocast('cpu', dtype, enabled=dtype == torch.float16):
            distiller(images, samples, mode='loss')
        factors.append(distiller.balance.factors.item())
    assert factors[0] == pytest.approx(factors[1], rel=0.03)


@pytest.mark.parametrize(
    ('term', 'loss'),
    [
        ('loss_fitnet', dict(type='mmmuse.FitNetLoss', modules=[3], iters=(9, None))),
        ('loss_dkd', dict(type='mmmuse.DKDLoss')),  # Its weight rises from 0 to 1 in 8 steps.
    ],
)
def test_a_loss_that_starts_later_or_warms_up_soon_has_its_length(term, loss, hub):
    torch.manual_seed(0)
    distiller = offline({**loss, 'loss_weight': 2.0}, loss_balance='gradient')
    images, samples = batch()
    for step in range(11):
        hub.update_info_dict(dict(iter=step, max_iters=100))
        losses = distiller(images, samples, mode='loss')
    own, length = (
        gradient_length(losses[name], distiller.student) for name in ('loss_student', term)
    )
    assert length / own == pytest.approx(2.0, rel=1e-3)


def test_without_an_own_loss_the_first_one_that_counts_has_factor_1():
    balance = GradientBalance(3, interval=1, momentum=0.0)
    assert measured(balance, [0.0, 3.0, 0.5]) == [1.0, 1.0, 6.0]


def test_a_loss_without_gradient_keeps_its_factor_and_factors_are_limited():
    balance = GradientBalance(3, max_factor=100.0)
    assert measured(balance, [0.0, 1e-6, 1e6], 1.0) == [1.0, 100.0, 0.01]


@pytest.mark.parametrize('config', ['uniform', dict(type='fixed', interval=3), dict(interval=3)])
def test_another_balance_is_refused(config):
    with pytest.raises(InputError, match="loss_balance is 'fixed'"):
        offline(*LOSSES, loss_balance=config)


def test_an_interval_of_no_steps_is_refused():
    with pytest.raises(InputError, match='interval'):
        offline(*LOSSES, loss_balance=dict(type='gradient', interval=0))


def train_each(rank: int, folder: str) -> None:
    """One of two processes, with images of its own."""
    torch.manual_seed(0)
    distiller = offline(*LOSSES, loss_balance='gradient')
    model = MMDistributedDataParallel(distiller, device_ids=None)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.01))
    torch.manual_seed(rank)
    for _ in range(2):
        data = dict(inputs=torch.randn(2, 3, 16, 16), data_samples=labelled([rank, 3]))
        model.train_step(data, wrapper)
    torch.save(dict(distiller.state_dict()), f'{folder}/{rank}.pt')


@pytest.mark.slow
def test_two_processes_have_the_same_factors(tmp_path):
    in_two_processes(train_each, tmp_path)
    first, second = (torch.load(tmp_path / f'{rank}.pt') for rank in (0, 1))
    assert not torch.equal(first['balance.factors'], torch.ones(3, dtype=torch.float64))
    for name in first:
        if 'running' not in name:
            assert torch.equal(first[name], second[name]), name


def test_an_evaluation_measures_nothing():
    distiller = offline(*LOSSES, loss_balance='gradient')
    with torch.no_grad():
        distiller(*batch(), mode='loss')
    distiller.eval()
    distiller(*batch(), mode='loss')
    assert distiller.balance.step == 0
