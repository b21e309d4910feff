import pytest
import torch
from mmpretrain import get_model

import mmmuse
from mmmuse.distillers import SelfDistiller
from mmmuse.errors import InputError
from mmmuse.heads.variants import variant_head
from mmmuse.registry import MODELS

from ..conftest import TAPS, labelled, small_classifier_config


@pytest.fixture
def model():
    return MODELS.build(small_classifier_config())


def test_wraps_a_built_model_by_proposal(model):
    distiller = mmmuse.distill(model)
    assert isinstance(distiller, SelfDistiller)
    assert distiller.student is model
    assert distiller.taps.paths == (*TAPS['modules'], TAPS['last'], TAPS['logits'])
    assert distiller.muse.discrepancies[0].combine == 'multiplicative'


def test_wraps_a_built_model_by_names(model):
    distiller = mmmuse.distill(model, ['backbone.layer2'], 'backbone.layer4', 'head', 'byot')
    assert distiller.taps.paths == ('backbone.layer2', 'backbone.layer4', 'head')
    assert {'exit1.loss_ce', 'exit1.loss_kd', 'loss_l2'} < set(
        distiller(torch.randn(2, 3, 32, 32), labelled([0, 1]), mode='loss')
    )


def test_takes_another_number_of_modules(model):
    paths = mmmuse.distill(model, num_modules=2).taps.paths
    assert paths == ('backbone.layer3', 'backbone.layer4', 'head')


def test_more_arguments_go_to_the_head(model):
    distiller = mmmuse.distill(model, variant='ce_kd', kd=dict(temperature=7.0), ce_weight=0.5)
    assert distiller.muse.kd[0].temperature == 7.0
    assert distiller.muse.ce_weight == 0.5


def test_the_models_weights_survive_the_runners_initialisation(model):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.25)
    distiller = mmmuse.distill(model)
    distiller.init_weights()
    assert all(
        torch.equal(parameter, torch.full_like(parameter, 0.25)) for parameter in model.parameters()
    )


def test_a_model_from_the_zoo_is_put_into_training_mode(model):
    distiller = mmmuse.distill(model.eval())
    assert all(module.training for module in distiller.modules())


def test_what_is_added_has_the_type_of_the_model(model):
    distiller = mmmuse.distill(model.double())
    assert {parameter.dtype for parameter in distiller.parameters()} == {torch.float64}


def test_an_argument_inside_a_part_keeps_the_rest_of_the_variant(model):
    loss = mmmuse.distill(model, discrepancy=dict(loss_weight=0.1)).muse.discrepancies[0]
    assert loss.loss_weight == 0.1
    assert loss.combine == 'multiplicative'
    assert loss.mi_critics[0].num_locations == 'auto'


def test_a_student_from_a_config_is_initialised():
    distiller = SelfDistiller(
        small_classifier_config(),
        TAPS,
        head=variant_head('ce'),
        neck=dict(type='mmmuse.SelfDistillNeck'),
    )
    norm = distiller.student.backbone.layer1[0].bn1
    torch.nn.init.zeros_(norm.weight)
    distiller.init_weights()
    assert torch.equal(norm.weight, torch.ones_like(norm.weight))


def test_unknown_variants_and_modules_are_explained(model):
    with pytest.raises(InputError, match="unknown variant 'muse'; available: mi_x_si"):
        mmmuse.distill(model, variant='muse')
    with pytest.raises(InputError, match='taps needs last'):
        mmmuse.distill(model, modules=['backbone.layer1'])
    with pytest.raises(InputError, match='modules is a list of strings with at least 1 item, got'):
        mmmuse.distill(model, modules='backbone.layer1', last='backbone.layer4')
    with pytest.raises(InputError, match='last and logits go with modules'):
        mmmuse.distill(model, last='backbone.layer4')


@pytest.mark.slow
def test_wraps_a_model_of_mmpretrains_zoo():
    distiller = mmmuse.distill(get_model('resnet18_8xb16_cifar10'), num_modules=3)
    paths = ('backbone.layer2', 'backbone.layer3', 'backbone.layer4', 'head')
    assert distiller.taps.paths == paths
    assert distiller.muse.exits[0].num_classes == 10


def test_an_unknown_attribute_of_the_package_is_an_attribute_error():
    with pytest.raises(AttributeError, match='distil'):
        mmmuse.distil  # noqa: B018
