"""Types and ranges in a config are checked before anything is built."""

import pytest
from mmengine.config import Config

from mmmuse.command_line.config import load_config
from mmmuse.command_line.parts import check_config, check_multipliers, path_in
from mmmuse.errors import ArgumentError, InputError

from .test_train import DISTILLED


@pytest.fixture(scope='module')
def shipped() -> dict:
    """A config of a distilled network."""
    return load_config(DISTILLED, {}).to_dict()


def changed(config: dict, **options: object) -> Config:
    changed = Config(config)
    changed.merge_from_dict({key.replace('__', '.'): value for key, value in options.items()})
    return changed


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (
            dict(model__head__discrepancy__loss_weight='0.03'),
            'model.head.discrepancy.loss_weight is a number of at least 0, got',
        ),
        (dict(model__head__discrepancy__warmup=1.5), 'warmup is a number from 0 to 1, got 1.5'),
        (dict(model__head__ce_weight=-0.9), 'model.head.ce_weight is a number of at least 0'),
        (dict(model__taps=3), 'model.taps is a dict or a string, got 3'),
        (dict(model__neck=[1]), 'model.neck is None or a dict, got [1]'),
        (dict(model__head=True), 'model.head is None, a dict or a string, got True'),
        (dict(model__head__exit='x'), "model.head.exit is None or a dict, got 'x'"),
        (dict(model__head__kd=[]), 'model.head.kd is None or a dict, got []'),
        (dict(model__neck__strides=[2, 0, 1]), 'model.neck.strides is a list of integers of at'),
        (dict(model__neck__reduction=0), 'model.neck.reduction is an integer of at least 1, got 0'),
        (dict(model__neck__num_prefix_tokens=[-1]), 'model.neck.num_prefix_tokens is None or a'),
        (dict(model__input_shape=[3, 0, 32]), 'model.input_shape is None or a list of integers of'),
        (dict(model__student__head__num_classes=0), 'num_classes is an integer of at least 1'),
        (dict(data_preprocessor__mean=[float('nan')]), 'data_preprocessor.mean is None or a list'),
        (dict(data_preprocessor__std=[0.0]), 'data_preprocessor.std is None or a list of numbers'),
        (dict(data_preprocessor__crop_padding=-1), 'crop_padding is an integer of at least 0'),
        (dict(data_preprocessor__fixed_views=0), 'fixed_views is None or an integer of at least'),
        (dict(data_preprocessor__num_views=2.0), 'num_views is an integer from 1 to 1000, got 2.0'),
        (
            dict(data_preprocessor__seed='a'),
            "data_preprocessor.seed is None or an integer, got 'a'",
        ),
        (dict(train_dataloader__batch_size=0), 'train_dataloader.batch_size is an integer of at'),
        (
            dict(train_dataloader__num_workers=-1),
            'num_workers is an integer from 0 to 1024, got -1',
        ),
        (
            dict(train_cfg__max_epochs=-3),
            'train_cfg.max_epochs is an integer of at least 1, got -3',
        ),
        (dict(train_cfg__val_interval=0), 'train_cfg.val_interval is an integer of at least 1'),
        (dict(param_scheduler__T_max=0), 'param_scheduler.T_max is None or an integer of at least'),
        (dict(default_hooks__checkpoint__interval=0), 'interval is an integer of at least 1 or -1'),
        (dict(default_hooks__information__interval=0), 'default_hooks.information.interval is an'),
        (dict(optim_wrapper__optimizer__lr=-0.1), 'optim_wrapper.optimizer.lr is a number of at'),
        (dict(optim_wrapper__clip_grad=3.0), 'optim_wrapper.clip_grad is None or a dict with at'),
        (dict(optim_wrapper__clip_grad=dict(max_norm=0)), 'max_norm is a number above 0, got 0'),
        (dict(optim_wrapper__clip_grad=dict(max_nrm=1)), 'unknown config key'),
        (
            dict(optim_wrapper__paramwise_cfg=dict(custom_keys=dict(a=dict(type='SGD')))),
            "unknown config key 'optim_wrapper.paramwise_cfg.custom_keys.a.type'",
        ),
        (dict(randomness__seed=-1), 'randomness.seed is None or an integer from 0 to 4294967295'),
        (dict(resume='no'), "resume is True or False, got 'no' (str)"),
        (dict(model=3), 'model is a built Module or a dict, got 3'),
        (dict(custom_hooks='x'), "custom_hooks is None or a list of built Hooks or dicts, got 'x'"),
        (dict(param_scheduler=[3]), 'param_scheduler is None'),
        (dict(model__head__type=3), 'model.head.type is the name of a class, got 3'),
    ],
)
def test_a_wrong_value_is_named_with_its_path(shipped, options, said):
    with pytest.raises(InputError) as error:
        check_config(changed(shipped, **options))
    assert said in str(error.value)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    'options',
    [
        dict(model__head__discrepancy__loss_weight=0),
        dict(default_hooks__checkpoint__interval=-1),
        dict(default_hooks__logger=None),
        dict(optim_wrapper__clip_grad=dict(max_norm=1, norm_type=float('inf'))),
        dict(train_cfg=dict(type='my.Loop', max_epochs='all')),
        dict(model__student__head__loss=dict(type='my.Loss', loss_weight=-1)),
        dict(
            optim_wrapper__constructor='my.Constructor', optim_wrapper__paramwise_cfg=dict(mine=1)
        ),
        dict(param_scheduler=None),
    ],
)
def test_what_is_in_range_or_the_users_own_is_accepted(shipped, options):
    check_config(changed(shipped, **options))


def test_a_needed_key_of_a_data_loader_is_named(shipped):
    config = changed(shipped)
    del config.train_dataloader['sampler']
    with pytest.raises(InputError, match="train_dataloader needs the key 'sampler'"):
        check_config(config)


def test_an_argument_of_a_part_without_a_type_is_found_in_the_config():
    config = dict(model=dict(head=dict(kd=dict(temperature=-1), ce_weight=-1)), other=dict(a=-1))
    error = ArgumentError('KDLoss', 'temperature', -1, 'a number above 0, got -1')
    assert path_in(config, error) == 'model.head.kd.temperature'
    twice = dict(a=dict(temperature=-1), b=dict(temperature=-1))
    assert path_in(twice, error) is None
    assert path_in(dict(a=dict(type='mmmuse.CRDLoss', temperature=-1)), error) is None


def test_the_path_of_a_part_without_a_type_is_in_the_message(tool, only_error, tmp_path):
    line = only_error(
        tool(
            'train.py', DISTILLED, '--work-dir', tmp_path / 'run',
            '--cfg-options', 'model.head.discrepancy.critic.hidden_channels=0',
        )
    )  # fmt: skip
    assert 'error: model.head.discrepancy.critic.hidden_channels is None or an integer' in line


def one_cycle(scheduler: dict | list | tuple, **paramwise) -> Config:
    optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1), paramwise_cfg=paramwise)
    return Config(dict(model={}, param_scheduler=scheduler, optim_wrapper=optim_wrapper))


MULTIPLIED = dict(custom_keys={'critics': dict(lr_mult=2.0)})


@pytest.mark.parametrize('kind', ['OneCycleLR', 'mmengine.OneCycleLR'])
@pytest.mark.parametrize(
    ('paramwise', 'said'),
    [
        (MULTIPLIED, r'paramwise_cfg\.custom_keys\.critics\.lr_mult=2\.0 has no effect'),
        (dict(bias_lr_mult=0.5), r'paramwise_cfg\.bias_lr_mult=0\.5 has no effect'),
    ],
)
def test_multipliers_that_one_cycle_ignores_are_refused(kind, paramwise, said):
    scheduler = dict(type=kind, eta_max=0.1, total_steps=9)
    for given in (scheduler, [scheduler], (scheduler,)):
        with pytest.raises(InputError, match=said):
            check_multipliers(one_cycle(given, **paramwise))


def test_multipliers_with_other_schedules_are_accepted():
    own = dict(type='mmmuse.PerGroupOneCycleLR', eta_max=0.1, total_steps=9)
    check_multipliers(one_cycle(own, **MULTIPLIED))
    check_multipliers(one_cycle(dict(type='MultiStepLR', milestones=[2]), **MULTIPLIED))
    check_multipliers(
        one_cycle(dict(type='OneCycleLR', eta_max=[0.1], total_steps=9), **MULTIPLIED)
    )
    without = dict(type='OneCycleLR', eta_max=0.1, total_steps=9)
    check_multipliers(one_cycle(without, norm_decay_mult=0.0, bias_lr_mult=1.0))
