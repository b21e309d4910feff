import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmmuse.errors import InputError
from mmmuse.functional import discriminator_loss, reverse_gradient


def slow_discriminator_loss(first: list[float], second: list[float]) -> float:
    def sigmoid(score: float) -> float:
        return 1 / (1 + math.exp(-score))

    return sum(-math.log(sigmoid(score)) for score in first) / len(first) + sum(
        -math.log(1 - sigmoid(score)) for score in second
    ) / len(second)


scores = st.lists(st.floats(-8, 8), min_size=1, max_size=6)


@given(scores, scores)
def test_equals_a_slow_loop_over_the_formula(first, second):
    loss = discriminator_loss(
        torch.tensor(first, dtype=torch.float64), torch.tensor(second, dtype=torch.float64)
    )
    assert math.isclose(loss.item(), slow_discriminator_loss(first, second), rel_tol=1e-9)


def test_gradients_are_those_of_finite_differences():
    first = torch.tensor([[0.3], [-1.2]], dtype=torch.float64, requires_grad=True)
    second = torch.tensor([[2.0], [0.1]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(discriminator_loss, (first, second))


def best_loss(first: list[float], second: list[float]) -> float:
    """Of the best discriminator on a finite set, where it is log p - log q."""
    scores = [math.log(p / q) for p, q in zip(first, second)]
    return sum(p * math.log1p(math.exp(-s)) for p, s in zip(first, scores)) + sum(
        q * math.log1p(math.exp(s)) for q, s in zip(second, scores)
    )


def test_the_best_discriminator_reaches_the_jensen_shannon_divergence():
    # Eight draws of two symbols, in the proportions of p and q.
    p, q = [0.75, 0.25], [0.25, 0.75]
    score = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    first, second = torch.tensor([0, 0, 0, 1]), torch.tensor([0, 1, 1, 1])
    optimizer = torch.optim.LBFGS([score], max_iter=50, line_search_fn='strong_wolfe')

    def step():
        optimizer.zero_grad()
        loss = discriminator_loss(score[first], score[second])
        loss.backward()
        return loss

    optimizer.step(step)
    mixed = [(a + b) / 2 for a, b in zip(p, q)]
    divergence = 0.5 * sum(
        a * math.log(a / m) + b * math.log(b / m) for a, b, m in zip(p, q, mixed)
    )
    reached = discriminator_loss(score[first], score[second]).item()
    assert reached == pytest.approx(2 * math.log(2) - 2 * divergence, abs=1e-6)
    assert reached == pytest.approx(best_loss(p, q), abs=1e-6)


@given(scores)
def test_equal_features_cannot_be_told_apart(same):
    # 2 JS = 2 log 2 - the best loss: 0, for no score does better than 0 does.
    same = torch.tensor(same, dtype=torch.float64)
    assert discriminator_loss(same, same).item() >= 2 * math.log(2) - 1e-12
    blind = torch.zeros_like(same)
    assert discriminator_loss(blind, blind).item() == pytest.approx(2 * math.log(2))


def test_reversed_gradient_is_the_negative_of_the_real_one():
    weight = torch.tensor([0.5, -2.0], dtype=torch.float64)
    vector = torch.tensor([1.5, 0.25], dtype=torch.float64, requires_grad=True)
    (real,) = torch.autograd.grad((weight * vector).sin().sum(), vector)
    (reversed_,) = torch.autograd.grad((weight * reverse_gradient(vector, 0.5)).sin().sum(), vector)
    assert torch.equal(reverse_gradient(vector), vector)
    assert torch.equal(reversed_, -0.5 * real)


def test_an_empty_side_is_refused():
    with pytest.raises(InputError, match=r'\(0,\) and \(3,\)'):
        discriminator_loss(torch.zeros(0), torch.zeros(3))
