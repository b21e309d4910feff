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


def test_each_of_several_schedulers_is_scaled_where_it_counts_epochs():
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
    }


def test_a_training_without_epochs_cannot_be_scaled():
    with pytest.raises(InputError, match='not counted in epochs'):
        scaled_schedule(Config(dict(train_cfg=dict(by_epoch=False, max_iters=10))), 5)


def test_a_schedule_with_a_warm_up_is_scaled_to_a_single_epoch():
    config = load_config('configs/detection/yolov5_n_bccd.py', {})
    schedule = scaled_schedule(config, 1)
    assert schedule['param_scheduler.0.end'] == 1
    assert schedule['param_scheduler.2.begin'] == 0
    # MMEngine refuses a scheduler that ends before it begins.
    assert all(schedule[f'param_scheduler.{i}.end'] >= 1 for i in range(3))
