from collections import OrderedDict

import pytest
import torch
import torch.nn.functional as F
from mmengine.logging import MessageHub

from mmmuse.critics import GlobalLocalCritic
from mmmuse.distillers.one import BranchGate
from mmmuse.errors import InputError
from mmmuse.functional import (
    donsker_varadhan_loss,
    global_view,
    infonce_loss,
    jsd_critic_loss,
    nwj_loss,
)
from mmmuse.losses import MUSELoss
from mmmuse.tapping.features import DistillFeatures, Step

from .shapes import within

COMBINES = ['multiplicative', 'additive', 'mi', 'si']


def muse(combine='multiplicative', **options) -> MUSELoss:
    options = {'loss_weight': 1.0, 'critic': dict(hidden_channels=8), **options}
    return MUSELoss(*within([3, 4], 6), combine, **options).double()


def step_features() -> DistillFeatures:
    shapes = [(4, 3, 4, 4), (4, 4, 2, 2), (4, 6, 2, 2)]
    *shallow, last = (
        torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes
    )
    return DistillFeatures(tuple(shallow), last)


def information(
    loss: MUSELoss, features: DistillFeatures, formula=jsd_critic_loss
) -> tuple[list, list]:
    """MI and SI of each module, from the critics' scores."""
    mi = [
        formula(*critic(local, features.last.mean((2, 3))))
        for critic, local in zip(loss.mi_critics, features.shallow)
    ]
    si = [
        formula(*critic(local, local.mean((2, 3))))
        for critic, local in zip(loss.si_critics, features.shallow)
    ]
    return mi, si


@pytest.mark.parametrize(
    ('combine', 'formula'),
    [
        ('multiplicative', lambda mi, si: mi[0] * si[0] + mi[1] * si[1]),
        ('additive', lambda mi, si: mi[0] + si[0] + mi[1] + si[1]),
        ('mi', lambda mi, si: mi[0] + mi[1]),
        ('si', lambda mi, si: si[0] + si[1]),
    ],
)
def test_the_loss_is_its_formula_on_the_critics_scores(combine, formula):
    loss, features = muse(combine, loss_weight=0.1, critic_weight=0.3), step_features()
    torch.testing.assert_close(
        loss(Step.within(features))['loss_muse'], 0.3 * formula(*information(loss, features))
    )


def test_terms_have_the_numbers_of_the_chosen_modules():
    features = step_features()
    loss = muse(modules=[2], combine='si')
    terms = loss(Step.within(features))
    assert set(terms) == {'si_loss_2', 'loss_muse'}
    expected = jsd_critic_loss(
        *loss.si_critics[0](features.shallow[1], features.shallow[1].mean((2, 3)))
    )
    torch.testing.assert_close(terms['si_loss_2'], expected.detach())
    assert set(muse(modules=[2, 1])(Step.within(features))) == {
        *(f'{name}_loss_{i}' for name in ('mi', 'si') for i in (1, 2)),
        'loss_muse',
    }
    with pytest.raises(InputError, match='each once'):
        muse(modules=[1, 1])


def test_every_modules_terms_are_logged_unweighed_and_without_gradient():
    loss, features = muse(loss_weight=0.3), step_features()
    terms = loss(Step.within(features))
    mi, si = information(loss, features)
    assert set(terms) == {'mi_loss_1', 'mi_loss_2', 'si_loss_1', 'si_loss_2', 'loss_muse'}
    for i in (1, 2):
        torch.testing.assert_close(terms[f'mi_loss_{i}'], mi[i - 1].detach())
        torch.testing.assert_close(terms[f'si_loss_{i}'], si[i - 1].detach())
        assert not terms[f'mi_loss_{i}'].requires_grad
        assert not terms[f'si_loss_{i}'].requires_grad


def test_the_product_sends_gradient_through_both_factors():
    loss, features = muse(), step_features()
    (mi_1, _), (si_1, _) = information(loss, features)
    grads = torch.autograd.grad(loss(Step.within(features))['loss_muse'], list(loss.parameters()))
    found = dict(zip((name for name, _ in loss.named_parameters()), grads))
    for name, value, factor in [('mi_critics.0', mi_1, si_1), ('si_critics.0', si_1, mi_1)]:
        critic = loss.get_submodule(name)
        for (parameter, _), grad in zip(
            critic.named_parameters(), torch.autograd.grad(value, list(critic.parameters()))
        ):
            torch.testing.assert_close(found[f'{name}.{parameter}'], factor.detach() * grad)


@pytest.mark.parametrize('combine', COMBINES)
def test_gradient_reaches_the_shallow_features_and_the_last(combine):
    loss, features = muse(combine), step_features()
    loss(Step.within(features))['loss_muse'].backward()
    for local in features.shallow:
        assert local.grad.abs().max() > 0
    if combine == 'si':
        assert features.last.grad is None
    else:
        assert features.last.grad.abs().max() > 0
    assert all(parameter.grad is not None for parameter in loss.parameters())


def test_si_reaches_the_map_through_its_average_too():
    loss, features = muse('si'), step_features()
    local = features.shallow[0]
    (whole,) = torch.autograd.grad(loss(Step.within(features))['loss_muse'], local)
    (locals_alone,) = torch.autograd.grad(
        loss.si_critics[0].jsd_loss(local, global_view(local).detach()), local
    )
    assert not torch.allclose(whole, locals_alone)


def test_a_detached_global_side_receives_no_gradient_and_changes_no_value():
    features = step_features()
    plain = muse('additive')
    values = {}
    for detached in ((), ('mi',), ('si',), ('mi', 'si')):
        loss = muse('additive', detach_global=detached)
        loss.load_state_dict(plain.state_dict())
        values[detached] = loss(Step.within(features))['loss_muse']
    assert len({value.item() for value in values.values()}) == 1
    last, local = features.last, features.shallow[0]

    def gradient(detached, of):
        (found,) = torch.autograd.grad(values[detached], of, retain_graph=True, allow_unused=True)
        return found

    assert gradient(('mi',), last) is None
    assert torch.equal(gradient(('si',), last), gradient((), last))
    # SI's own average is detached: what is left of it is the gradient of its local side.
    mi = plain.mi_critics[0].jsd_loss(local, global_view(last))
    si = plain.si_critics[0].jsd_loss(local, global_view(local).detach())
    (expected,) = torch.autograd.grad(mi + si, local)
    torch.testing.assert_close(gradient(('si',), local), expected)


@pytest.mark.parametrize(
    ('combine', 'num_mi', 'num_si'),
    [('multiplicative', 2, 2), ('additive', 2, 2), ('mi', 2, 0), ('si', 0, 2)],
)
def test_only_the_critics_that_are_needed_are_built(combine, num_mi, num_si):
    loss = muse(combine)
    assert (len(loss.mi_critics), len(loss.si_critics)) == (num_mi, num_si)
    assert len(list(loss.parameters())) == 7 * (num_mi + num_si)


def test_no_two_modules_share_a_critic():
    loss = MUSELoss(*within([3, 3], 3))
    assert len({parameter.data_ptr() for parameter in loss.parameters()}) == 4 * 7


def test_the_critics_config_is_passed_on():
    critic = muse('mi').mi_critics[0]
    assert critic.pair_score.hidden.weight.shape == (8, 8)
    dot = MUSELoss(
        *within([3], 6),
        critic=dict(architecture='dot', negatives='all', num_locations=2, hidden_channels=4),
    ).si_critics[0]
    assert isinstance(dot, GlobalLocalCritic)
    assert (dot.negatives, dot.num_locations) == ('all', 2)


def test_an_unknown_combine_lists_those_there_are():
    with pytest.raises(InputError, match="multiplicative, additive, mi, si, got 'product'"):
        MUSELoss(*within([3], 6), 'product')


def test_tokens_and_vectors_are_features_too():
    loss = muse()
    features = DistillFeatures(
        (torch.randn(4, 9, 3).double(), torch.randn(4, 4).double()), torch.randn(4, 6).double()
    )
    assert loss(Step.within(features))['loss_muse'].isfinite()


OTHERS = [
    ('InfoNCE', infonce_loss, lambda loss: loss),
    ('DonskerVaradhan', donsker_varadhan_loss, F.softplus),
    ('NWJ', nwj_loss, F.softplus),
]


@pytest.mark.parametrize(('name', 'formula', 'factor'), OTHERS)
def test_another_estimator_enters_the_product_by_its_factor(name, formula, factor):
    loss, features = muse(estimator=dict(type=f'mmmuse.{name}')), step_features()
    terms = loss(Step.within(features))
    mi, si = information(loss, features, formula)
    product = sum(factor(m) * factor(s) for m, s in zip(mi, si))
    torch.testing.assert_close(terms['loss_muse'], product)
    for i in (1, 2):  # What is logged is the loss itself.
        torch.testing.assert_close(terms[f'mi_loss_{i}'], mi[i - 1].detach())
        torch.testing.assert_close(terms[f'si_loss_{i}'], si[i - 1].detach())


@pytest.mark.parametrize(('name', 'formula', 'factor'), OTHERS)
def test_another_estimator_enters_the_sum_as_it_is(name, formula, factor):
    loss, features = muse('additive', estimator=dict(type=f'mmmuse.{name}')), step_features()
    mi, si = information(loss, features, formula)
    torch.testing.assert_close(loss(Step.within(features))['loss_muse'], sum(mi) + sum(si))


@pytest.mark.parametrize('combine', COMBINES)
def test_every_critic_has_an_estimator_of_its_own(combine):
    loss = muse(combine, estimator=dict(type='mmmuse.DonskerVaradhan', momentum=0.5))
    assert len(loss.mi_estimators) == len(loss.mi_critics)
    assert len(loss.si_estimators) == len(loss.si_critics)
    loss(Step.within(step_features()))
    estimators = [*loss.mi_estimators, *loss.si_estimators]
    assert [estimator.momentum for estimator in estimators] == [0.5] * len(estimators)
    averages = [estimator.log_mean_exp.item() for estimator in estimators]
    assert len(set(averages)) == len(averages)


def test_the_default_estimator_adds_nothing_to_a_checkpoint():
    keys = set(muse().state_dict())
    assert {key.split('.')[0] for key in keys} == {'mi_critics', 'si_critics'}
    assert len(keys) == 4 * 7


def test_an_estimator_that_is_none_is_named():
    with pytest.raises(InputError, match='an InformationEstimator, got BranchGate'):
        muse(estimator=dict(type=BranchGate, in_channels=2, num_branches=2))


ESTIMATORS = ['JensenShannon', 'InfoNCE', 'DonskerVaradhan', 'NWJ']
CRITICS = [
    dict(hidden_channels=8),
    dict(hidden_channels=8, num_locations=3),
    dict(hidden_channels=8, architecture='dot', negatives='all'),
]


def gradients(loss: MUSELoss, features: DistillFeatures) -> tuple[list, list]:
    """Gradients of a step: of the critics' parameters, and of the features."""
    parameters = list(loss.parameters())
    inputs = [*features.shallow, *([] if loss.combine == 'si' else [features.last])]
    torch.manual_seed(1)  # The same locations are drawn each time.
    value = loss(Step.within(features))['loss_muse']
    # The features' own vectors are computed once, for all losses of a step.
    grads = torch.autograd.grad(value, [*parameters, *inputs], retain_graph=True)
    return grads[: len(parameters)], grads[len(parameters) :]


@pytest.mark.parametrize('critic', CRITICS)
@pytest.mark.parametrize('estimator', ESTIMATORS)
@pytest.mark.parametrize('combine', COMBINES)
def test_each_weight_reaches_its_own_side_alone(combine, estimator, critic):
    options = dict(critic=critic, estimator=dict(type=f'mmmuse.{estimator}'))
    plain = muse(combine, loss_weight=1.0, critic_weight=1.0, **options)
    weighed = muse(combine, loss_weight=0.03, critic_weight=2.0, **options)
    weighed.load_state_dict(plain.state_dict())
    features = step_features()
    of_critics, of_features = gradients(plain, features)
    weighed_critics, weighed_features = gradients(weighed, features)
    for weight, expected, found in (
        (2.0, of_critics, weighed_critics),
        (0.03, of_features, weighed_features),
    ):
        assert any(grad.abs().max() > 0 for grad in expected)
        for one, other in zip(expected, found):
            torch.testing.assert_close(other, weight * one, rtol=1e-6, atol=1e-12)


def test_the_weights_are_003_for_the_features_and_1_for_the_critics_by_default():
    loss = MUSELoss(*within([3], 6))
    assert (loss.loss_weight, loss.critic_weight) == (0.03, 1.0)


@pytest.mark.parametrize('combine', COMBINES)
def test_both_weights_at_one_are_the_plain_formula_to_the_bit(combine):
    loss, features = muse(combine, loss_weight=1.0, critic_weight=1.0), step_features()
    last = features.last.mean((2, 3))
    mi = [c.jsd_loss(local, last) for c, local in zip(loss.mi_critics, features.shallow)]
    si = [
        c.jsd_loss(local, global_view(local)) for c, local in zip(loss.si_critics, features.shallow)
    ]
    pairs = list(zip(mi, si))
    plain = sum(m * s for m, s in pairs) if combine == 'multiplicative' else sum(mi) + sum(si)
    inputs = [*loss.parameters(), *features.shallow]
    expected = torch.autograd.grad(plain, inputs)
    found = torch.autograd.grad(loss(Step.within(features))['loss_muse'], inputs)
    assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize(
    ('weights', 'said'),
    [
        (dict(critic_weight=0), 'critic_weight is a number above 0, got 0'),
        (dict(critic_weight=-1), 'critic_weight is a number above 0, got -1'),
        (dict(loss_weight=-0.1), 'loss_weight is a number of at least 0, got -0.1'),
    ],
)
def test_a_weight_out_of_its_range_is_refused(weights, said):
    with pytest.raises(InputError, match=f'^MUSELoss: {said}$'):
        MUSELoss(*within([3], 6), **weights)


def test_the_features_weight_warms_up_while_the_critics_learn_from_the_first_step(monkeypatch):
    loss, features = muse(loss_weight=0.5, warmup=0.2), step_features()
    whole = muse(loss_weight=0.5)
    whole.load_state_dict(loss.state_dict())
    of_critics, of_features = gradients(whole, features)
    hub = MessageHub.get_current_instance()
    monkeypatch.setattr(hub, '_runtime_info', OrderedDict(max_iters=100))
    for step, part in ((0, 0.0), (5, 0.25), (10, 0.5), (20, 1.0), (99, 1.0)):
        hub.update_info('iter', step)
        found_critics, found_features = gradients(loss, features)
        for one, other in zip(of_critics, found_critics):
            torch.testing.assert_close(other, one)
        for one, other in zip(of_features, found_features):
            torch.testing.assert_close(other, part * one)
    hub.update_info('max_iters', None)  # A loop of one's own counts nothing.
    assert loss.weight(Step.within(features)) == 0.5


@pytest.mark.parametrize('warmup', [-0.1, 1.5])
def test_a_warm_up_outside_of_the_training_is_refused(warmup):
    with pytest.raises(InputError, match=f'MUSELoss: warmup is a number from 0 to 1, got {warmup}'):
        MUSELoss(*within([3], 5), warmup=warmup)


@pytest.mark.parametrize('part', ['critic', 'estimator'])
def test_a_part_that_is_no_config_is_refused(part):
    with pytest.raises(InputError, match=f"MUSELoss: {part} is None or a dict, got 'mmmuse.NWJ'"):
        MUSELoss(*within([3], 5), **{part: 'mmmuse.NWJ'})


def test_an_unknown_side_to_detach_is_refused():
    with pytest.raises(InputError, match='detach_global'):
        muse(detach_global=('last',))
