import pytest
import torch
from mmengine.optim import OptimWrapper
from torch import nn

from mmmuse.distillers.base import build_student
from mmmuse.errors import InputError, NonFiniteLossError
from mmmuse.registry import MODELS

from ..conftest import labelled, small_classifier_config, small_distiller

IMAGES = (4, 3, 32, 32)


def one_step(distiller):
    losses = distiller(torch.randn(IMAGES), labelled([0, 1, 2, 3]), mode='loss')
    return distiller.parse_losses(losses)


def test_a_term_that_is_not_finite_is_named_and_no_other():
    distiller = small_distiller()
    one_step(distiller)
    critic = distiller.muse.discrepancies[0].mi_critics[1]
    critic.pair_score.hidden.weight.data.fill_(float('nan'))
    with pytest.raises(NonFiniteLossError) as error:
        one_step(distiller)
    assert 'mi_loss_2 = nan' in str(error.value)
    assert 'loss_muse = nan' in str(error.value)
    assert 'mi_loss_1' not in str(error.value)
    assert 'loss_student' not in str(error.value)


@pytest.mark.parametrize('value', [float('inf'), -float('inf'), float('nan')])
def test_a_students_loss_that_is_not_finite_stops_too(value):
    distiller = small_distiller('ce')
    with pytest.raises(NonFiniteLossError, match='loss_student'):
        distiller.parse_losses(dict(loss_student=torch.tensor(value), loss_ce=torch.tensor(1.0)))


def test_finite_losses_that_overflow_together_stop_as_the_sum():
    largest = torch.tensor(3e38)
    with pytest.raises(NonFiniteLossError, match='the sum'):
        small_distiller('ce').parse_losses(dict(loss_a=largest, loss_b=largest))


def test_a_refused_step_does_not_refuse_the_next():
    distiller = small_distiller('ce')
    with pytest.raises(NonFiniteLossError):
        distiller.parse_losses(dict(loss=torch.tensor(float('nan'))))
    distiller.check_finite()
    assert one_step(distiller)[0].isfinite()


def test_a_student_that_is_no_openmmlab_model_is_refused_by_its_type():
    with pytest.raises(InputError, match='got Linear'):
        build_student(nn.Linear(2, 2), None)


def test_a_preprocessor_goes_to_a_student_without_one():
    mean = dict(mean=[1.0, 2.0, 3.0], std=[1.0, 1.0, 1.0])
    given = small_distiller('ce', data_preprocessor=mean)
    assert given.data_preprocessor is given.student.data_preprocessor
    assert given.data_preprocessor.mean.flatten().tolist() == [1.0, 2.0, 3.0]
    own = dict(small_classifier_config(), data_preprocessor=dict(mean=[7.0] * 3, std=[1.0] * 3))
    kept = small_distiller('ce', student=own, data_preprocessor=mean)
    assert kept.data_preprocessor.mean.flatten().tolist() == [7.0, 7.0, 7.0]


def test_a_preprocessor_for_a_built_student_is_refused():
    student = MODELS.build(small_classifier_config())
    with pytest.raises(InputError, match='no effect on a student that is a built model'):
        small_distiller('ce', student=student, data_preprocessor=dict(mean=[1.0], std=[1.0]))


def test_train_step_updates_student_and_critics():
    distiller = small_distiller()
    wrapper = OptimWrapper(torch.optim.SGD(distiller.parameters(), lr=0.1))
    before = {name: value.detach().clone() for name, value in distiller.named_parameters()}
    data = dict(inputs=torch.randint(0, 256, IMAGES).byte(), data_samples=labelled([0, 1, 2, 3]))
    log = distiller.train_step(data, wrapper)
    assert {'loss', 'loss_student', 'mi_loss_1'} < set(log)
    for name in (
        'student.backbone.conv1.weight',
        'student.head.fc.weight',
        'muse.exits.0.fc.weight',
        'muse.discrepancies.0.mi_critics.0.pair_score.score.weight',
    ):
        assert not torch.equal(before[name], distiller.get_parameter(name))


@pytest.mark.slow
@pytest.mark.parametrize(
    ('name', 'layer'),
    [
        ('student.backbone.patch_embed.projection.weight', 0),
        ('student.backbone.layers.3.ffn.layers.1.weight', 4),
        ('student.head.layers.head.weight', 13),
        ('adapters.branches.0.0.conv.weight', 13),
        ('muse.exits.2.fc.bias', 13),
    ],
)
def test_layer_wise_rates_see_the_students_layers_and_the_rest_as_the_last(name, layer):
    vit = dict(
        type='mmpretrain.ImageClassifier',
        _scope_='mmpretrain',
        backbone=dict(type='VisionTransformer', arch='deit-tiny', img_size=16, patch_size=8),
        head=dict(type='VisionTransformerClsHead', num_classes=5, in_channels=192),
    )
    distiller = small_distiller('ce', student=vit, taps='auto')
    distiller.get_parameter(name)
    # Embedding, twelve layers, head.
    assert distiller.get_layer_depth(name) == (layer, 14)
