"""Several teachers of one student."""

import copy

import pytest
import torch

from mmmuse.distillers.gradient_ratio import gradient_ratio
from mmmuse.errors import InputError
from mmmuse.functional import kd_loss
from mmmuse.registry import MODELS
from mmmuse.tapping.features import DistillFeatures

from .transfer import MUSE, TAPS, batch, network

KD = dict(type='mmmuse.KDLoss', temperature=4)
AT = dict(type='mmmuse.AttentionTransferLoss', modules=[2, 3])


def built(teacher: list, losses: tuple = (KD,), **options):
    config = dict(type='mmmuse.OfflineDistiller', student=network(), taps=TAPS, losses=list(losses))
    return MODELS.build({**config, 'teacher': teacher, **options}).train()


@pytest.fixture(scope='module')
def networks() -> list:
    torch.manual_seed(0)
    return [MODELS.build(network(6)), MODELS.build(network(8))]


def test_each_teacher_has_losses_of_its_own_under_its_name(networks):
    first, second = networks
    distiller = built([first, dict(teacher=second, name='wide', losses=[AT, MUSE])])
    images, samples = batch()
    losses = distiller(images, samples, mode='loss')
    assert set(losses) == {
        'loss_student',
        'teacher1.loss_kd',
        'wide.loss_at',
        'wide.loss_muse',
        *(f'wide.{kind}_loss_{i}' for kind in ('mi', 'si') for i in (1, 2, 3)),
    }
    total, _ = distiller.parse_losses(losses)
    total.backward()
    assert [name for name, value in distiller.named_parameters() if value.grad is None] == []
    assert {name.split('.')[0] for name in distiller.state_dict()} == {'student', 'losses'}


def test_an_edge_is_that_of_its_teacher_alone_times_its_weight(networks):
    student = MODELS.build(network())
    images, samples = batch()
    together = built(
        [dict(teacher=networks[0], weight=0.5), dict(teacher=networks[1])],
        student=copy.deepcopy(student),
    )
    found = together(images, samples, mode='loss')
    for number, weight in ((0, 0.5), (1, 1.0)):
        alone = built(networks[number], student=copy.deepcopy(student))
        expected = alone(images, samples, mode='loss')['loss_kd']
        torch.testing.assert_close(found[f'teacher{number + 1}.loss_kd'], weight * expected)


def test_a_weight_is_on_the_features_and_not_on_the_critics(networks):
    images, samples = batch()
    gradients = []
    for weight in (1.0, 0.25):
        torch.manual_seed(5)
        distiller = built([dict(teacher=networks[0], weight=weight)], losses=(MUSE,))
        torch.manual_seed(6)
        distiller(images, samples, mode='loss')['teacher1.loss_muse'].backward()
        critic = next(iter(distiller.losses)).mi_critics.parameters()
        layer = distiller.student.backbone.layer1.parameters()
        gradients.append((next(critic).grad, next(layer).grad))
    (critic, layer), (same_critic, smaller) = gradients
    torch.testing.assert_close(same_critic, critic)
    torch.testing.assert_close(smaller, 0.25 * layer)


def test_the_ensemble_teaches_the_mean_of_the_logits(networks):
    student = MODELS.build(network())
    images, samples = batch()
    distiller = built(networks, student=student, ensemble='logits')
    logits = [teacher.eval()(images) for teacher in copy.deepcopy(networks)]
    before = copy.deepcopy(student).train()
    expected = kd_loss(before(images), (logits[0] + logits[1]) / 2, 4.0)
    found = distiller(images, samples, mode='loss')
    assert set(found) == {'loss_student', 'loss_kd'}
    torch.testing.assert_close(found['loss_kd'], expected)


def test_muse_of_a_teacher_counts_for_the_ratio_of_gradients():
    feature = torch.ones(2, 3, requires_grad=True)
    features = DistillFeatures(shallow=(feature,))
    terms = {'vit.loss_muse': 3 * feature.sum(), 'vit.loss_kd': 100 * feature.sum()}
    found = gradient_ratio(features, {'loss': feature.sum()}, terms)
    torch.testing.assert_close(found['gradient_ratio'], torch.tensor(3.0))


def test_every_teacher_follows_the_distiller(networks):
    distiller = built(networks).double()
    for teacher in distiller.teacher.teachers.values():
        assert all(value.dtype == torch.float64 for value in teacher.model.parameters())
    copied = copy.deepcopy(distiller)
    for name, teacher in distiller.teacher.teachers.items():
        assert copied.teacher.teachers[name].model is teacher.model


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(teacher=[]), r'teacher is an empty list'),
        (dict(losses=[]), r'teacher teacher1: it has no losses, and neither has the distiller'),
        (dict(teacher_checkpoint='a.pth'), r'give checkpoint in the items of the list'),
        (dict(teacher_cache='a.pt'), r'teacher_cache holds the outputs of one teacher'),
        (
            dict(teacher=network(), ensemble='logits'),
            r"ensemble='logits' is for a list of teachers",
        ),
        (dict(ensemble='features'), r'ensemble is'),
    ],
)
def test_what_does_not_fit_a_list_is_refused(networks, options, message):
    with pytest.raises(InputError, match=message):
        built(**{**dict(teacher=networks), **options})


@pytest.mark.parametrize(
    ('entry', 'message'),
    [
        (
            dict(wieght=1),
            r'teacher\[1\]: unknown keys wieght; available: teacher, checkpoint, taps',
        ),
        (dict(weight=-1), r'weight is a number of at least 0, got -1'),
        (dict(name='teacher1'), r"two teachers are named 'teacher1'"),
        (dict(name='a.b'), r'teacher\[1\]\.name is a word such as vit'),
        (dict(losses=[dict(type='mmmuse.KLoss')]), r'teacher teacher2: unknown loss'),
    ],
)
def test_an_item_that_is_wrong_is_named(networks, entry, message):
    with pytest.raises(InputError, match=message):
        built([networks[0], dict(teacher=networks[1], **entry)])


def test_an_ensemble_is_of_one_set_of_classes(networks):
    other = MODELS.build(network(num_classes=7))
    with pytest.raises(InputError, match=r'same classes, and they differ: teacher1 5, teacher2 7$'):
        built([networks[0], other], ensemble='logits')


def test_an_ensemble_needs_logits_of_each(networks):
    without = dict(teacher=networks[1], taps=dict(last='backbone.layer3'))
    with pytest.raises(
        InputError, match=r'needs class logits of teacher teacher2: set its taps\.log'
    ):
        built([networks[0], without], ensemble='logits')


def test_losses_that_no_teacher_has_are_refused(networks):
    teachers = [dict(teacher=network, losses=[KD]) for network in networks]
    assert set(built(teachers, losses=())(*batch(), mode='loss')) > {'teacher1.loss_kd'}
    for options in (dict(), dict(losses=(), phases=[dict(losses=[AT], task_loss=False)])):
        with pytest.raises(InputError, match='every teacher has losses of its own, so no teacher'):
            built(teachers, **options)


def test_an_ensemble_has_no_losses_of_single_teachers(networks):
    with pytest.raises(InputError, match=r'remove losses and weight of teacher teacher1$'):
        built([dict(teacher=networks[0], weight=2), networks[1]], ensemble='logits')
