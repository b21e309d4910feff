"""Properties of every rival, with and without MUSE."""

import copy

import pytest
import torch

from mmmuse.checkpoints.state_dicts import with_plain_names
from mmmuse.errors import InputError
from mmmuse.registry import MODELS

from ..conftest import TAPS, as_trained, labelled, small_classifier_config
from .rivals import RIVALS, batch, rival

OWN_LOSSES = {
    'cs_kd': {'loss_class_kd'},
    'ps_kd': set(),
    'ddgsd': {'loss_view_kl', 'loss_view_mean'},
    'one': {
        'mix.loss_ce',
        'branch2.loss_ce',
        'branch3.loss_ce',
        'branch1.loss_kd',
        'branch2.loss_kd',
        'branch3.loss_kd',
    },
    'frskd': {'self_teacher.loss_ce', 'loss_kd', 'loss_attention'},
}
MUSE_LOSSES = {
    'loss_muse',
    *(f'exit{i}.loss_{name}' for i in (1, 2, 3) for name in ('ce', 'kd')),
    *(f'{name}_loss_{i}' for i in (1, 2, 3) for name in ('mi', 'si')),
}
EVERY_RIVAL = pytest.mark.parametrize('name', sorted(RIVALS))
WITH_AND_WITHOUT = pytest.mark.parametrize('muse', [False, True], ids=['without_muse', 'with_muse'])


@pytest.fixture(autouse=True)
def _second_epoch(hub):
    hub.update_info_dict(dict(epoch=1, max_epochs=4, iter=5, max_iters=16))


@EVERY_RIVAL
@WITH_AND_WITHOUT
def test_losses_are_the_students_the_rivals_and_muses(name, muse):
    losses = rival(name, muse)(*batch(name), mode='loss')
    assert set(losses) == {'loss_student', *OWN_LOSSES[name], *(MUSE_LOSSES if muse else ())}


@EVERY_RIVAL
@WITH_AND_WITHOUT
def test_every_parameter_gets_a_gradient_in_every_step(name, muse):
    distiller = rival(name, muse)
    optimizer = torch.optim.SGD(distiller.parameters(), lr=0.05)
    for _ in range(2):
        optimizer.zero_grad()
        total, _ = distiller.parse_losses(distiller(*batch(name), mode='loss'))
        total.backward()
        missing = [key for key, value in distiller.named_parameters() if value.grad is None]
        assert missing == []
        optimizer.step()


@EVERY_RIVAL
@WITH_AND_WITHOUT
def test_losses_are_float32_and_finite_under_autocast(name, muse):
    distiller = rival(name, muse)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        losses = distiller(*batch(name), mode='loss')
    assert {key: value.dtype for key, value in losses.items()} == dict.fromkeys(
        losses, torch.float32
    )
    total, _ = distiller.parse_losses(losses)  # Stops at a loss that is not finite.
    total.backward()
    bad = [
        key
        for key, value in distiller.named_parameters()
        if value.grad is None or not value.grad.isfinite().all()
    ]
    assert bad == []


@EVERY_RIVAL
@WITH_AND_WITHOUT
def test_the_students_half_of_the_weights_is_the_plain_student(name, muse):
    distiller = rival(name, muse)
    distiller(*batch(name), mode='loss')
    plain = MODELS.build(small_classifier_config())
    weights = with_plain_names(distiller.state_dict())
    assert list(weights) == list(plain.state_dict())
    plain.load_state_dict(weights)
    images = torch.randn(2, 3, 16, 16)
    assert torch.equal(plain.eval()(images), distiller.eval()(images))


@EVERY_RIVAL
def test_alone_it_predicts_as_the_student_whatever_the_batch(name):
    distiller = rival(name).eval()
    images = torch.randn(3, 3, 16, 16)  # No pairs, no views.
    expected = distiller.student(images, labelled([0, 1, 2]), mode='predict')
    for found, sample in zip(distiller(images, labelled([0, 1, 2]), mode='predict'), expected):
        assert torch.equal(found.pred_score, sample.pred_score)
        assert 'exit_scores' not in found


@EVERY_RIVAL
def test_with_muse_the_exits_predict_too(name):
    images = torch.randn(3, 3, 16, 16)
    for sample in as_trained(rival(name, muse=True)).eval()(images, mode='predict'):
        assert sample.exit_scores.shape == (3, 5)


@EVERY_RIVAL
def test_a_copy_trains_on_its_own(name):
    distiller = rival(name)
    images, samples = batch(name)
    distiller(images, samples, mode='loss')
    twin = copy.deepcopy(distiller)
    first, second = (model(images, samples, mode='loss') for model in (distiller, twin))
    for key, value in first.items():
        torch.testing.assert_close(second[key], value)


@EVERY_RIVAL
def test_logits_have_to_be_tapped(name):
    with pytest.raises(InputError, match=r'needs taps\.logits'):
        rival(name, taps={**TAPS, 'logits': None})


@EVERY_RIVAL
def test_taps_can_be_proposed(name):
    assert rival(name, taps='auto').tap_paths.logits is not None


@pytest.mark.parametrize('name', ['cs_kd', 'ddgsd', 'one', 'frskd'])
@pytest.mark.parametrize('temperature', [0.0, -1.0, float('nan')])
def test_a_temperature_that_is_not_positive_is_refused_in_one_line(name, temperature):
    with pytest.raises(InputError, match='temperature is a number above 0') as error:
        rival(name, temperature=temperature)
    assert '\n' not in str(error.value)


@EVERY_RIVAL
def test_a_neck_without_a_head_is_refused(name):
    with pytest.raises(InputError, match='without one, set neck=None'):
        rival(name, neck=dict(type='mmmuse.SelfDistillNeck'))


@EVERY_RIVAL
def test_a_double_precision_student_gets_double_precision_parts(name):
    distiller = rival(name, student=MODELS.build(small_classifier_config()).double())
    images, samples = batch(name)
    total, _ = distiller.parse_losses(distiller(images.double(), samples, mode='loss'))
    assert total.dtype == torch.float64
