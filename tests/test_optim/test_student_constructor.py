"""A constructor that reads parameter names sees those of the plain student."""

from importlib import import_module

import pytest
from mmdet.engine.optimizers import LearningRateDecayOptimizerConstructor
from mmengine.optim import OptimWrapper, OptimWrapperDict, build_optim_wrapper
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS, DefaultScope
from torch.optim import SGD

from mmmuse.errors import InputError
from mmmuse.optim.student_constructor import check_constructor, for_student
from mmmuse.registry import MODELS

from ..conftest import small_classifier_config, small_distiller

CONVNEXT = dict(
    type='mmpretrain.ImageClassifier',
    _scope_='mmpretrain',
    backbone=dict(
        type='ConvNeXt', arch=dict(depths=[1, 1, 1, 1], channels=[4, 8, 8, 16]), out_indices=(3,)
    ),
    head=dict(type='LinearClsHead', num_classes=5, in_channels=16),
)
NAME = 'mmdet.LearningRateDecayOptimizerConstructor'
CONFIG = dict(
    optimizer=dict(type='AdamW', lr=0.1, weight_decay=0.05),
    constructor=NAME,
    paramwise_cfg=dict(decay_rate=0.5, decay_type='layer_wise', num_layers=6),
)


def rates(wrapper, model, prefix: str = '') -> dict[str, tuple[float, float]]:
    """Learning rate and weight decay of each parameter by its name."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        names[id(parameter)].removeprefix(prefix): (group['lr'], group['weight_decay'])
        for group in wrapper.optimizer.param_groups
        for parameter in group['params']
    }


def test_the_students_rates_are_those_of_the_plain_model():
    plain = MODELS.build(CONVNEXT)
    expected = rates(build_optim_wrapper(plain, CONFIG), plain)
    assert len({rate for rate, _ in expected.values()}) > 3
    distiller = small_distiller('ce', student=CONVNEXT, taps=dict(num_modules=3))
    wrapper = build_optim_wrapper(distiller, for_student(CONFIG, distiller))
    found = rates(wrapper, distiller, 'student.')
    assert {name: found[name] for name in expected} == expected
    added = {name: rate for name, rate in found.items() if name not in expected}
    assert set(added.values()) == {(0.1, 0.05)}
    assert set(found) == {name.removeprefix('student.') for name, _ in distiller.named_parameters()}


@pytest.mark.parametrize('scope', ['mmdet', 'mmseg', 'mmpretrain'])
def test_a_name_is_looked_up_in_the_default_scope_as_mmengine_does(scope):
    library = import_module(f'{scope}.registry').OPTIM_WRAPPER_CONSTRUCTORS
    name = 'LearningRateDecayOptimizerConstructor'
    if scope == 'mmpretrain':  # One of a user.
        name = 'OfAUser'
        library.register_module(
            name=name, module=type(name, (LearningRateDecayOptimizerConstructor,), {}), force=True
        )
    config = dict(CONFIG, constructor=name)
    distiller = small_distiller('ce', student=CONVNEXT, taps=dict(num_modules=3))
    plain = MODELS.build(CONVNEXT)
    with DefaultScope.overwrite_default_scope(scope):
        expected = rates(build_optim_wrapper(plain, config), plain)
        wrapper = build_optim_wrapper(distiller, for_student(config, distiller))
        with pytest.raises(InputError, match=r'student\.backbone\.\* here'):
            check_constructor(config, build_optim_wrapper(distiller, config))
    found = rates(wrapper, distiller, 'student.')
    assert {name: found[name] for name in expected} == expected
    assert len({rate for rate, _ in expected.values()}) > 3


@pytest.mark.parametrize(
    'constructor',
    [
        None,
        'DefaultOptimWrapperConstructor',
        'mmpretrain.LearningRateDecayOptimWrapperConstructor',
        'mmmuse.ThreeGroupsConstructor',
    ],
)
def test_other_constructors_see_the_distiller(constructor):
    config = dict(optimizer=dict(type='SGD', lr=0.1), constructor=constructor)
    assert for_student(config, small_distiller('ce')) == config


def test_a_plain_model_keeps_its_constructor():
    assert for_student(CONFIG, MODELS.build(small_classifier_config())) == CONFIG


def test_without_it_the_run_is_refused_at_the_start():
    distiller = small_distiller('ce', student=CONVNEXT, taps=dict(num_modules=3))
    wrong = LearningRateDecayOptimizerConstructor(
        dict(optimizer=CONFIG['optimizer']), CONFIG['paramwise_cfg']
    )(distiller)
    with pytest.raises(InputError) as error:
        check_constructor(CONFIG, wrong)
    assert 'student.backbone.* here' in str(error.value)
    assert f'paramwise_cfg.student_constructor={NAME!r}' in str(error.value)
    check_constructor(CONFIG, build_optim_wrapper(distiller, for_student(CONFIG, distiller)))


def test_each_peer_has_the_rates_of_its_plain_model():
    plain = MODELS.build(CONVNEXT)
    expected = rates(build_optim_wrapper(plain, CONFIG), plain)
    peers = {name: dict(model=CONVNEXT, taps=dict(num_modules=3)) for name in 'ab'}
    model = MODELS.build(
        dict(type='mmmuse.OnlineDistiller', peers=peers, losses=[dict(type='mmmuse.MUSELoss')])
    )
    found = rates(build_optim_wrapper(model, for_student(CONFIG, model)), model)
    for prefix in ('student.', 'peers.b.'):
        assert {name: found[prefix + name] for name in expected} == expected
    assert set(found) == {name for name, _ in model.named_parameters()}


class TwoOptimizers:
    """A constructor of an optimizer for each part, as those of GANs are."""

    def __init__(self, optim_wrapper_cfg, paramwise_cfg=None):
        self.config = optim_wrapper_cfg['optimizer']

    def __call__(self, model):
        parts = dict(backbone=model.backbone, head=model.head)
        return OptimWrapperDict(
            **{
                name: OptimWrapper(SGD(part.parameters(), lr=self.config['lr']))
                for name, part in parts.items()
            }
        )


@pytest.fixture
def two_optimizers():
    OPTIM_WRAPPER_CONSTRUCTORS.register_module(module=TwoOptimizers)
    yield dict(optimizer=dict(type='SGD', lr=0.1), constructor='TwoOptimizers')
    OPTIM_WRAPPER_CONSTRUCTORS.module_dict.pop('TwoOptimizers')


def test_a_constructor_of_several_optimizers_is_refused(two_optimizers):
    distiller = small_distiller('ce')
    with pytest.raises(InputError, match=r'OptimWrapperDict; a distiller is trained by one optim'):
        build_optim_wrapper(distiller, for_student(two_optimizers, distiller))
