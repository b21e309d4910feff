import copy

import pytest
import torch
from mmengine.optim import LinearMomentum
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from mmmuse.errors import InputError
from mmmuse.optim import BiasWarmupLR, ThreeGroupsConstructor
from mmmuse.registry import PARAM_SCHEDULERS

# Five steps, then a rate of 0.02; computed by hand.
RISING = [0.0, 0.005, 0.01, 0.015, 0.02]
FALLING = [0.1, 0.08, 0.06, 0.04, 0.02]
MOMENTUM = [0.8, 0.825, 0.85, 0.875, 0.9]


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))


def wrapper(model: nn.Module | None = None):
    sgd = dict(type='SGD', lr=0.02, momentum=0.9)
    return ThreeGroupsConstructor(dict(optimizer=sgd))(model or network())


def of_groups(optimizer, key: str = 'lr') -> dict[str, float]:
    """By group; ``base`` is MMEngine's, which holds no parameter and goes into the log."""
    return {group.get('name', 'base'): group[key] for group in optimizer.param_groups}


def rates(optimizer, schedulers, steps: int, key: str = 'lr') -> dict[str, list[float]]:
    """The values with which each of some steps would be taken."""
    values = {name: [] for name in of_groups(optimizer)}
    for _ in range(steps):
        for name, value in of_groups(optimizer, key).items():
            values[name].append(value)
        for scheduler in schedulers:
            scheduler.step()
    return values


def test_rates_rise_from_zero_and_those_of_biases_fall_and_then_stay():
    optimizer = wrapper()
    found = rates(optimizer, [BiasWarmupLR(optimizer, 0.1, end=5, by_epoch=False)], 8)
    assert found['weight'] == pytest.approx([*RISING, 0.02, 0.02, 0.02])
    assert found['scale'] == found['base'] == found['weight']
    assert found['bias'] == pytest.approx([*FALLING, 0.02, 0.02, 0.02])


def test_a_later_beginning_does_not_change_the_steps_before():
    optimizer = wrapper()
    found = rates(optimizer, [BiasWarmupLR(optimizer, 0.1, begin=2, end=7, by_epoch=False)], 8)
    assert found['weight'] == pytest.approx([0.02, 0.02, *RISING, 0.02])
    assert found['bias'] == pytest.approx([0.02, 0.02, *FALLING, 0.02])


def test_a_warm_up_of_one_step_is_its_beginning():
    optimizer = wrapper()
    found = rates(optimizer, [BiasWarmupLR(optimizer, 0.1, end=1, by_epoch=False)], 1)
    assert (found['weight'], found['bias']) == ([0.0], [0.1])


def begun():
    """An optimizer and its warm-up of five steps."""
    optimizer = wrapper()
    return optimizer, [
        BiasWarmupLR(optimizer, 0.1, end=5, by_epoch=False),
        LinearMomentum(optimizer, start_factor=0.8 / 0.9, end=5, by_epoch=False),
    ]


def test_momentum_rises_beside_it():
    for values in rates(*begun(), 7, 'momentum').values():
        assert values == pytest.approx([*MOMENTUM, 0.9, 0.9])


def test_what_is_resumed_goes_on_with_the_same_values():
    whole, schedulers = begun()
    rates(whole, schedulers, 2)
    saved = copy.deepcopy([part.state_dict() for part in (whole, *schedulers)])
    assert 'optimizer' not in saved[1]
    resumed, later = begun()
    for part, state in zip((resumed, *later), saved):
        part.load_state_dict(state)
    assert of_groups(resumed)['bias'] == pytest.approx(0.06)
    found = rates(resumed, later, 5)
    assert found['weight'] == pytest.approx([*RISING[2:], 0.02, 0.02])
    assert found['bias'] == pytest.approx([*FALLING[2:], 0.02, 0.02])
    assert found == rates(whole, schedulers, 5)


def scheduled(**options) -> BiasWarmupLR:
    """Built as a runner of epochs of 4 iterations does it."""
    config = dict(type='mmmuse.BiasWarmupLR', convert_to_iter_based=True, **options)
    return PARAM_SCHEDULERS.build(config, default_args=dict(optimizer=wrapper(), epoch_length=4))


@pytest.mark.parametrize(
    ('epochs', 'iterations'), [((0, 3), (0, 12)), ((1, 3), (4, 12)), ((0, 0.5), (0, 2))]
)
def test_epochs_are_counted_in_iterations(epochs, iterations):
    scheduler = scheduled(begin=epochs[0], end=epochs[1])
    assert (scheduler.begin, scheduler.end) == iterations
    assert not scheduler.by_epoch


class Regression(nn.Module):
    """A loss of 0, whose steps change nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = network()
        self.seen = []

    def train_step(self, data, optim_wrapper):
        groups = optim_wrapper.optimizer.param_groups
        self.seen.append({group['name']: (group['lr'], group['momentum']) for group in groups})
        loss = self.layers(data).sum() * 0
        optim_wrapper.update_params(loss)
        return dict(loss=loss.detach())


@pytest.fixture
def recorded(tmp_path) -> list[dict]:
    """Rate and momentum of each step of a runner: 3 epochs of warm-up, then a cosine of 4."""
    model = Regression()
    runner = Runner(
        model,
        str(tmp_path),
        train_dataloader=DataLoader(torch.randn(4, 2), batch_size=2),
        train_cfg=dict(by_epoch=True, max_epochs=7),
        optim_wrapper=dict(
            constructor='mmmuse.ThreeGroupsConstructor',
            optimizer=dict(type='SGD', lr=0.01, momentum=0.9),
        ),
        param_scheduler=[
            dict(type='mmmuse.BiasWarmupLR', bias_lr=0.11, end=3, convert_to_iter_based=True),
            dict(type='LinearMomentum', start_factor=0.8 / 0.9, end=3, convert_to_iter_based=True),
            dict(type='CosineAnnealingLR', eta_min_ratio=0.2, begin=3, T_max=4, end=7),
        ],
        auto_scale_lr=dict(enable=True, base_batch_size=1),
        default_hooks=dict(logger=None, checkpoint=None, sampler_seed=None),
        experiment_name=tmp_path.name,
        log_level='WARNING',
    )
    runner.train()
    return model.seen


def test_a_runner_warms_up_by_the_iteration_and_goes_on_by_the_epoch(recorded):
    """The rate of 0.01 is doubled for the batch, and then one for all."""
    assert len(recorded) == 14
    weights, biases = ([step[name] for step in recorded] for name in ('weight', 'bias'))
    assert [lr for lr, _ in weights[:6]] == pytest.approx([0, 0.004, 0.008, 0.012, 0.016, 0.02])
    assert [lr for lr, _ in biases[:6]] == pytest.approx([0.11, 0.092, 0.074, 0.056, 0.038, 0.02])
    for group in (weights, biases):
        momenta = [momentum for _, momentum in group]
        assert momenta == pytest.approx([0.8, 0.82, 0.84, 0.86, 0.88, *[0.9] * 9])
    # 0.004 + 0.008 (1 + cos(pi epoch / 4)), two steps each.
    cosine = [0.02, 0.0176569, 0.012, 0.0063431]
    after = [lr for lr, _ in weights[6:]]
    assert after == pytest.approx([value for value in cosine for _ in range(2)], abs=1e-7)
    assert [lr for lr, _ in biases[6:]] == pytest.approx(after)


def test_an_optimizer_without_a_group_of_biases_is_refused():
    sgd = torch.optim.SGD(network().parameters(), lr=0.02)
    with pytest.raises(InputError, match=r"optim_wrapper\.constructor='mmmuse\.ThreeGroups"):
        BiasWarmupLR(sgd, end=5)


def test_conversion_of_what_is_in_iterations_is_refused():
    with pytest.raises(InputError, match='convert_to_iter_based needs by_epoch=True'):
        BiasWarmupLR.build_iter_from_epoch(wrapper(), end=3, epoch_length=4, by_epoch=False)
