from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict

from mmmuse.errors import InputError
from mmmuse.hooks import AccumulatedGradientsHook
from mmmuse.hooks.accumulated_gradients import is_accumulating


def restore(gradients: dict) -> torch.nn.Module:
    model = torch.nn.Linear(3, 2)
    runner = SimpleNamespace(model=model, _resume=True)
    hook = AccumulatedGradientsHook()
    hook.after_load_checkpoint(runner, dict(gradients=gradients))
    hook.before_train(runner)
    return model


def test_gradients_of_a_checkpoint_are_those_of_the_first_step():
    model = restore(dict(weight=torch.ones(2, 3)))
    assert torch.equal(model.weight.grad, torch.ones(2, 3))
    assert model.bias.grad is None


@pytest.mark.parametrize(
    ('gradients', 'said'),
    [
        (
            dict(weight=torch.ones(3)),
            r'has the shape \[3\], and the weight has the shape \[2, 3\]',
        ),
        (dict(other=torch.ones(3)), 'has the shape .*, and the model has no weight other'),
    ],
)
def test_gradients_of_another_model_are_refused(gradients, said):
    with pytest.raises(InputError, match=said):
        restore(gradients)


def accumulating(counts: int) -> OptimWrapper:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    return OptimWrapper(optimizer, accumulative_counts=counts)


@pytest.mark.parametrize(('counts', 'expected'), [((1, 1), False), ((1, 2), True)])
def test_one_of_several_optimizers_may_wait_for_its_update(counts, expected):
    first, second = (accumulating(count) for count in counts)
    second._inner_count = 1
    runner = SimpleNamespace(optim_wrapper=OptimWrapperDict(first=first, second=second))
    assert is_accumulating(runner) is expected
