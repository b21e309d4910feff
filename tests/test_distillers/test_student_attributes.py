from copy import deepcopy

import pytest
import torch
from torch import nn

from mmmuse.distillers import EarlyExitClassifier
from mmmuse.registry import MODELS

from ..conftest import TAPS, small_classifier_config, small_distiller
from .transfer import online

KD = dict(type='mmmuse.KDLoss')


@pytest.mark.parametrize('name', ['backbone', 'neck', 'head', 'with_neck', 'extract_feats'])
def test_an_attribute_is_the_students(name):
    distiller = small_distiller()
    found, expected = getattr(distiller, name), getattr(distiller.student, name)
    assert found == expected


def test_features_are_extracted_as_by_the_plain_model():
    distiller, images = small_distiller().eval(), torch.randn(2, 3, 16, 16)
    plain = MODELS.build(small_classifier_config()).eval()
    plain.load_state_dict(distiller.student.state_dict())
    found = distiller.extract_feat(images, stage='pre_logits')
    assert torch.equal(found, plain.extract_feat(images, stage='pre_logits'))


def test_in_online_distillation_they_are_the_first_peers():
    distiller = online(KD)
    assert distiller.head is distiller.networks['a'].head
    assert distiller.head is not distiller.networks['b'].head


def test_a_value_is_set_in_the_student_that_has_the_attribute():
    distiller = small_distiller()
    distiller.student.loss_lambda = 0.5
    distiller.loss_lambda = 0.0
    assert distiller.student.loss_lambda == 0.0
    assert 'loss_lambda' not in vars(distiller)


def test_a_module_is_set_in_the_student_that_has_it():
    distiller = small_distiller()
    distiller.neck = nn.Identity()
    assert type(distiller.student.neck) is nn.Identity
    assert 'neck' not in dict(distiller.named_children())


def test_what_the_student_lacks_is_set_in_the_distiller():
    distiller = small_distiller()
    distiller.dataset_meta = dict(classes='abcde')
    assert not hasattr(distiller.student, 'dataset_meta')
    assert distiller.dataset_meta == dict(classes='abcde')


def test_attributes_of_the_distiller_stay_its_own():
    distiller = small_distiller()
    distiller.student.tapped = 'of the student'
    tapped, distiller.tapped = distiller.tapped, 'of the distiller'
    assert (distiller.student.tapped, distiller.tapped) == ('of the student', 'of the distiller')
    assert tapped.network is distiller.student


def test_a_missing_attribute_is_an_error_that_names_the_distiller():
    with pytest.raises(AttributeError, match="'SelfDistiller' object has no attribute 'bbox_head'"):
        small_distiller().bbox_head  # noqa: B018


@pytest.mark.parametrize('name', ['module', '_ddp_params_and_buffers_to_ignore', '__setstate_x__'])
def test_marks_of_wrappers_and_private_names_are_not_looked_for_in_the_student(name):
    distiller = small_distiller()
    setattr(distiller.student, name, 1)
    assert not hasattr(distiller, name)


def test_a_copy_has_the_parts_of_its_own_student():
    distiller = small_distiller()
    copy = deepcopy(distiller)
    assert copy.head is copy.student.head
    assert copy.head is not distiller.head


def test_names_of_parameters_and_weights_are_unchanged():
    distiller = small_distiller()
    parts = {name.split('.')[0] for name in distiller.state_dict()}
    assert parts == {'student', 'muse', 'adapters'}
    assert {name.split('.')[0] for name, _ in distiller.named_parameters()} == parts


def test_a_subclass_may_set_an_attribute_that_its_student_has_while_it_is_built():
    class Student(MODELS.get('mmpretrain.ImageClassifier')):
        thresholds = 'of the student'

    student = Student(**{k: v for k, v in small_classifier_config().items() if k[0] not in 't_'})
    distiller = EarlyExitClassifier(
        student,
        taps=TAPS,
        head='ce',
        thresholds=[0.5, 0.5, 0.5],
    )
    assert (student.thresholds, distiller.thresholds) == ('of the student', (0.5, 0.5, 0.5))
