import pytest
from mmengine.config import Config

from mmmuse.command_line.config import load_config
from mmmuse.errors import InputError
from mmmuse.tables.schedule import scaled_schedule


def test_a_shipped_schedule_is_scaled_in_proportion():
    config = load_config('configs/baselines/resnet18_cifar100.py', {})
    assert scaled_schedule(config, 60) == {
        'train_cfg.max_epochs': 60,
        'param_scheduler.milestones': [22, 39, 54],
    }


def test_each_of_several_schedulers_is_scaled():
    config = Config(
        dict(
            train_cfg=dict(max_epochs=100),
            param_scheduler=[
                dict(type='LinearLR', by_epoch=True, begin=0, end=10, start_factor=0.1),
                dict(type='CosineAnnealingLR', begin=10, end=100, T_max=90),
                dict(type='LinearLR', by_epoch=False, begin=0, end=500),
            ],
        )
    )
    assert scaled_schedule(config, 5) == {
        'train_cfg.max_epochs': 5,
        'param_scheduler.0.end': 1,
        'param_scheduler.1.begin': 1,
        'param_scheduler.1.end': 5,
        'param_scheduler.1.T_max': 4,
        'param_scheduler.2.end': 25,
    }


def test_one_cycle_of_iterations_ends_with_the_training():
    """Otherwise the learning rate would still be high at the end."""
    config = load_config('configs/narrow/narrow-resnet18_cifar100.py', {})
    assert scaled_schedule(config, 20) == {
        'train_cfg.max_epochs': 20,
        'param_scheduler.total_steps': 780,
    }


def test_restarts_are_scaled():
    scheduler = dict(type='CosineRestartLR', periods=[40, 60], restart_weights=[1, 0.5])
    config = Config(dict(train_cfg=dict(max_epochs=100), param_scheduler=scheduler))
    assert scaled_schedule(config, 50)['param_scheduler.periods'] == [20, 30]


def test_a_scheduler_of_iterations_ends_after_it_begins():
    scheduler = dict(type='LinearLR', by_epoch=False, begin=10, end=20)
    config = Config(dict(train_cfg=dict(max_epochs=100), param_scheduler=[scheduler]))
    assert scaled_schedule(config, 1) == {
        'train_cfg.max_epochs': 1,
        'param_scheduler.0.begin': 1,
        'param_scheduler.0.end': 2,
    }


def test_a_training_without_epochs_cannot_be_scaled():
    with pytest.raises(InputError, match='not counted in epochs'):
        scaled_schedule(Config(dict(train_cfg=dict(by_epoch=False, max_iters=10))), 5)


@pytest.mark.parametrize('epochs', [1, 2, 3, 100])
def test_each_scheduler_ends_after_it_begins(epochs):
    """MMEngine refuses others; this schedule has a warm-up of 3 of 300 epochs."""
    config = load_config('configs/detection/yolov5_n_bccd.py', {})
    schedule = scaled_schedule(config, epochs)
    for i in range(3):
        begin = schedule.get(f'param_scheduler.{i}.begin', 0)
        assert schedule[f'param_scheduler.{i}.end'] > begin
        assert begin < epochs
