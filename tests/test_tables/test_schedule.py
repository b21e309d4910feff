import pytest
import torch
from mmengine.config import Config
from mmengine.optim import LinearLR

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
        'param_scheduler.0.convert_to_iter_based': True,
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
    scheduler = dict(type='CosineRestartLR', periods=[45, 45, 10], restart_weights=[1, 1, 1])
    config = Config(dict(train_cfg=dict(max_epochs=100), param_scheduler=scheduler))
    assert scaled_schedule(config, 10)['param_scheduler.periods'] == [4, 5, 1]


@pytest.mark.parametrize('epochs', range(1, 21))
@pytest.mark.parametrize(
    'path', ['unlabelled/resnet20_cifar100-20k_features', 'detection/yolov5_n_bccd']
)
def test_a_cosine_ends_with_its_range_and_with_the_training(path, epochs):
    config = load_config(f'configs/{path}.py', {})
    schedule = scaled_schedule(config, epochs)
    cosines = {
        i: scheduler
        for i, scheduler in enumerate(config.param_scheduler)
        if scheduler.type == 'CosineAnnealingLR'
    }
    assert cosines
    for i in cosines:
        begin, end, length = (
            schedule[f'param_scheduler.{i}.{name}'] for name in ('begin', 'end', 'T_max')
        )
        assert begin + length == end == epochs


@pytest.mark.parametrize('epochs', [1, 2, 5, 22, 40])
@pytest.mark.parametrize('path', ['detection/yolov5_n_ten_images', 'segmentation/unet_membrane'])
@pytest.mark.parametrize('end', [2, 50])
def test_a_warm_up_of_iterations_reaches_the_learning_rate(path, epochs, end):
    config = load_config(f'configs/{path}.py', {'param_scheduler.0.end': end})
    schedule = scaled_schedule(config, epochs)
    assert final_rate(end=schedule['param_scheduler.0.end'], by_epoch=False) == pytest.approx(0.1)


@pytest.mark.parametrize('epochs', [1, 2, 20, 40, 100])
def test_a_warm_up_of_epochs_reaches_the_learning_rate(epochs):
    warm_up = dict(type='LinearLR', begin=0, end=5)
    config = Config(dict(train_cfg=dict(max_epochs=100), param_scheduler=warm_up))
    schedule = scaled_schedule(config, epochs)
    assert schedule['param_scheduler.end'] == max(round(epochs / 20), 1)
    in_iterations = schedule.get('param_scheduler.convert_to_iter_based', False)
    end = schedule['param_scheduler.end'] * (10 if in_iterations else 1)  # Ten steps an epoch.
    assert final_rate(end=end, by_epoch=not in_iterations) == pytest.approx(0.1)


def final_rate(**options):
    """Return the rate after a linear warm-up to 0.1."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler = LinearLR(optimizer, start_factor=0.01, **options)
    for _ in range(options['end']):
        optimizer.step()
        scheduler.step()
    return optimizer.param_groups[0]['lr']


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
