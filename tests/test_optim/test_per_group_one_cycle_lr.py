import copy

import pytest
import torch
from mmengine.optim import OneCycleLR, build_optim_wrapper
from torch import nn

from mmmuse.errors import InputError
from mmmuse.optim import PerGroupOneCycleLR
from mmmuse.registry import PARAM_SCHEDULERS

from ..kills.runs import start
from ..test_hooks.test_safe_checkpoint import forget

STEPS = 10


def wrapper(**multipliers: float):
    model = nn.ModuleDict(dict(critics=nn.Linear(2, 2), student=nn.Linear(2, 2)))
    paramwise = dict(custom_keys={name: dict(lr_mult=mult) for name, mult in multipliers.items()})
    optimizer = dict(type='SGD', lr=0.02, momentum=0.9)
    return build_optim_wrapper(model, dict(optimizer=optimizer, paramwise_cfg=paramwise))


def rates(optimizer, scheduler, steps: int = STEPS) -> list[list[float]]:
    """Return the learning rates of all groups in each step."""
    taken = []
    for _ in range(steps):
        taken.append([group['lr'] for group in optimizer.param_groups])
        scheduler.step()
    return taken


def scheduled(optimizer):
    config = dict(type='mmmuse.PerGroupOneCycleLR', eta_max=0.5, total_steps=STEPS, by_epoch=False)
    return PARAM_SCHEDULERS.build(config, default_args=dict(optimizer=optimizer))


def test_each_group_has_its_share_of_the_rate_of_mmengines():
    plain = wrapper()
    (expected,) = {tuple(each) for each in zip(*rates(plain, OneCycleLR(plain, eta_max=0.5, total_steps=STEPS)))}  # fmt: skip
    multiplied = wrapper(critics=2.0, student=0.1)
    found = list(zip(*rates(multiplied, scheduled(multiplied))))
    # Weight and bias of the critics, those of the student, and MMEngine's group for the log.
    for of_group, factor in zip(found, (2.0, 2.0, 0.1, 0.1, 1.0), strict=True):
        assert of_group == pytest.approx([factor * rate for rate in expected])
    assert max(expected) == pytest.approx(0.5)


def test_mmengines_ignores_the_multipliers():
    # If this fails, MMEngine has fixed it, and PerGroupOneCycleLR is no longer needed.
    optimizer = wrapper(critics=2.0)
    for step in rates(optimizer, OneCycleLR(optimizer, eta_max=0.5, total_steps=STEPS)):
        assert len(set(step)) == 1


def one_cycle(kind: str) -> dict:
    return {
        'optim_wrapper.paramwise_cfg': dict(custom_keys={'critics': dict(lr_mult=2.0)}),
        'param_scheduler': dict(
            _delete_=True, type=kind, eta_max=0.1, total_steps=9, by_epoch=False
        ),
    }


def test_auto_scale_lr_scales_the_highest_rate():
    optimizer = torch.optim.SGD([torch.ones(1)], lr=0.02)
    (group,) = optimizer.param_groups
    group['lr'] *= 4  # As MMEngine's runner does before it builds the schedulers.
    PerGroupOneCycleLR(optimizer, eta_max=0.5, total_steps=STEPS)
    assert group['max_lr'] == pytest.approx(2.0)


def test_a_training_with_ignored_multipliers_is_refused_and_leaves_no_files(tmp_path):
    with pytest.raises(InputError, match=r'lr_mult=2\.0 has no effect: OneCycleLR gives all'):
        start('self', tmp_path, tmp_path / 'run', **one_cycle('OneCycleLR'))
    forget()
    assert not (tmp_path / 'run').exists()
    start('self', tmp_path, tmp_path / 'other', **one_cycle('mmmuse.PerGroupOneCycleLR'))
    forget()


def test_a_resumed_scheduler_goes_on():
    straight = wrapper(critics=2.0)
    expected = rates(straight, scheduled(straight))
    first = wrapper(critics=2.0)
    scheduler = scheduled(first)
    rates(first, scheduler, 4)
    states = copy.deepcopy((first.state_dict(), scheduler.state_dict()))
    second = wrapper(critics=2.0)
    scheduler = scheduled(second)
    second.load_state_dict(states[0])
    scheduler.load_state_dict(states[1])
    assert rates(second, scheduler, STEPS - 4) == expected[4:]


def test_an_optimizer_without_a_wrapper_is_taken():
    optimizer = torch.optim.SGD([dict(params=[torch.ones(1)], lr=0.04)], lr=0.02)
    (peak,) = optimizer.param_groups
    PerGroupOneCycleLR(optimizer, eta_max=0.5, total_steps=STEPS)
    assert peak['max_lr'] == pytest.approx(1.0)
