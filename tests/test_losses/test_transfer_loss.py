import pytest
import torch

from mmmuse.errors import InputError
from mmmuse.functional import kd_loss, mmd_loss, vid_loss
from mmmuse.losses import CRDLoss, DistillLoss, KDLoss, MUSELoss, VIDLoss, build_loss
from mmmuse.tapping.features import DistillFeatures, FeatureSpec, NetworkSpecs, Step

from .shapes import within

STUDENT, TEACHER = (3, 4, 6), (5, 6, 7)
CRITIC = dict(hidden_channels=8)


def specs(
    *channels: int,
    grid: tuple[int, int] | None = (4, 4),
    num_classes: int = 5,
    taps: str = 'taps',
) -> NetworkSpecs:
    *shallow, last = (FeatureSpec(c, grid) for c in channels)
    return NetworkSpecs(tuple(shallow), last, FeatureSpec(num_classes), taps)


def network(channels: tuple, num_classes: int = 5, requires_grad: bool = False) -> DistillFeatures:
    *shallow, last = (torch.randn(4, c, 4, 4, requires_grad=requires_grad) for c in channels)
    logits = torch.randn(4, num_classes, requires_grad=requires_grad)
    return DistillFeatures(tuple(shallow), last, logits)


def both(**options) -> Step:
    return Step(network(STUDENT, **options), network(TEACHER, **options), [])


def build(config: dict, student: NetworkSpecs | None = None, teacher: NetworkSpecs | None = None):
    return build_loss(config, student or specs(*STUDENT), teacher or specs(*TEACHER))


def test_kd_is_of_the_two_networks_logits():
    loss = build(dict(type='mmmuse.KDLoss', temperature=2.0, loss_weight=0.3))
    assert isinstance(loss, KDLoss)
    assert loss.reads == {'logits'}
    features = both(requires_grad=True)
    losses = loss(features)
    assert set(losses) == {'loss_kd'}
    expected = 0.3 * kd_loss(features.learner.logits, features.source.logits, 2.0)
    assert torch.isclose(losses['loss_kd'], expected)
    losses['loss_kd'].backward()
    assert features.learner.logits.grad.abs().sum() > 0
    assert features.source.logits.grad is None


def test_muse_takes_the_last_vector_from_the_teacher_and_self_information_from_the_student():
    loss = build(dict(type='mmmuse.MUSELoss', critic=CRITIC, loss_weight=1.0))
    assert isinstance(loss, MUSELoss)
    assert loss.reads == {'vector'}
    assert loss.min_batch_size == 2
    alone = MUSELoss(*within([3, 4], 7), critic=CRITIC, loss_weight=1.0)
    alone.load_state_dict(loss.state_dict())
    features = both()
    losses = loss(features)
    expected = alone(Step.within(DistillFeatures(features.learner.shallow, features.source.last)))
    assert (
        set(losses)
        == set(expected)
        == {'mi_loss_1', 'mi_loss_2', 'si_loss_1', 'si_loss_2', 'loss_muse'}
    )
    for name, value in expected.items():
        assert torch.equal(losses[name], value), name
    other = loss(Step(features.learner, network(TEACHER), []))
    assert torch.equal(other['si_loss_1'], losses['si_loss_1'])
    assert not torch.isclose(other['mi_loss_1'], losses['mi_loss_1'])


def test_muse_may_compare_the_students_last_module_too():
    config = dict(type='mmmuse.MUSELoss', critic=CRITIC, combine='mi', modules=[1, 3])
    loss = build(config)
    features = both(requires_grad=True)
    loss(features)['loss_muse'].backward()
    assert [x.grad is not None for x in features.learner.modules] == [True, False, True]
    # Where there is no shallow one, the last can be named.
    alone = build({**config, 'modules': [1]}, specs(6), specs(7))
    losses = alone(Step(network((6,)), network((7,)), []))
    assert losses['loss_muse'].isfinite()


@pytest.mark.parametrize('kind', ['mmmuse.VIDLoss', VIDLoss])
def test_vid_predicts_the_chosen_modules_of_the_teacher(kind):
    loss = build(dict(type=kind, modules=[2, 3], critic_weight=0.5))
    assert loss.reads == {'maps'}
    vid = loss
    assert [(r[0].in_channels, r[-1].out_channels) for r in vid.regressors] == [(4, 6), (6, 7)]
    assert [len(raw) for raw in vid.raw_variances] == [6, 7]
    features = both(requires_grad=True)
    own, other = features.learner.modules, features.source.modules
    losses = loss(features)
    assert set(losses) == {'loss_vid'}
    expected = 0.5 * sum(
        vid_loss(regressor(a), torch.full((t.shape[1],), 5.0), t)
        for regressor, a, t in zip(vid.regressors, own[1:], other[1:])
    )
    assert torch.isclose(losses['loss_vid'], expected, rtol=1e-5)
    losses['loss_vid'].backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in loss.parameters())
    assert own[0].grad is None
    assert all(feature.grad.abs().sum() > 0 for feature in own[1:])
    assert all(feature.grad is None for feature in other)


def test_mmd_compares_every_module_with_the_teachers():
    loss = build(dict(type='mmmuse.MMDLoss', loss_weight=2.0))
    features = both(requires_grad=True)
    pairs = zip(features.learner.modules, features.source.modules)
    losses = loss(features)
    assert set(losses) == {'loss_mmd'}
    assert torch.isclose(losses['loss_mmd'], 2 * sum(mmd_loss(a, t) for a, t in pairs))
    losses['loss_mmd'].backward()
    assert all(feature.grad.abs().sum() > 0 for feature in features.learner.modules)
    assert all(feature.grad is None for feature in features.source.modules)


def test_a_registered_loss_between_networks_gets_both_networks_shapes():
    loss = build(dict(type='mmmuse.CRDLoss', embed_channels=8))
    assert isinstance(loss, CRDLoss)
    assert isinstance(loss, DistillLoss)
    assert (loss.embed_student.in_features, loss.embed_teacher.in_features) == (6, 7)


def test_the_config_is_left_as_it_was():
    config = dict(type='mmmuse.VIDLoss', modules=[2, 3])
    build(config)
    assert config == dict(type='mmmuse.VIDLoss', modules=[2, 3])


@pytest.mark.parametrize('kind', ['mmmuse.Nothing', 'mmmuse.SmallResNetCIFAR', None])
def test_an_unknown_loss_lists_those_that_there_are(kind):
    with pytest.raises(InputError, match='unknown loss between networks') as raised:
        build(dict(type=kind))
    message = str(raised.value)
    assert repr(kind) in message
    known = set(message.split('available: ')[1].split(', '))
    names = ('AFD', 'AttentionTransfer', 'CRD', 'DKD', 'FitNet', 'KDCL', 'KD', 'MMD', 'MUSE')
    assert {f'mmmuse.{name}Loss' for name in (*names, 'ReviewKD', 'VID')} <= known
    assert not {'mmmuse.HintLoss', 'mmmuse.AdversarialLoss'} & known


@pytest.mark.parametrize('config', ['mmmuse.KDLoss', 'mmmuse.VIDLoss', 'mmmuse.CRDLoss', None])
def test_a_name_alone_is_no_config(config):
    with pytest.raises(InputError, match=r"dict\(type='...'\), got"):
        build(config)


@pytest.mark.parametrize('kind', ['HintLoss', 'AdversarialLoss'])
def test_a_loss_of_exits_is_refused(kind):
    with pytest.raises(InputError, match=f"{kind} reads a head's exits; between networks choose"):
        build(dict(type=f'mmmuse.{kind}'))


@pytest.mark.parametrize('kind', ['KDLoss', 'DKDLoss', 'KDCLLoss'])
def test_other_class_counts_are_refused_by_losses_of_logits(kind):
    with pytest.raises(InputError, match=f'{kind} .* differ in classes: 5 .taps. and 9'):
        build(dict(type=f'mmmuse.{kind}'), teacher=specs(*TEACHER, num_classes=9))
    untapped = NetworkSpecs((FeatureSpec(3, (4, 4)),), FeatureSpec(4, (4, 4)))
    with pytest.raises(InputError, match=f'{kind} compares class logits: set taps.logits'):
        build(dict(type=f'mmmuse.{kind}'), untapped)


@pytest.mark.parametrize(
    'config',
    [
        dict(type='mmmuse.MUSELoss', critic=CRITIC),
        dict(type='mmmuse.VIDLoss'),
        dict(type='mmmuse.MMDLoss'),
        dict(type='mmmuse.AttentionTransferLoss'),
        dict(type='mmmuse.FitNetLoss'),
        dict(type='mmmuse.ReviewKDLoss'),
        dict(type='mmmuse.AFDLoss'),
    ],
    ids=lambda config: config['type'],
)
def test_other_class_counts_are_fine_for_losses_of_features(config):
    loss = build(config, teacher=specs(*TEACHER, num_classes=9))
    assert 'logits' not in loss.reads
    features = Step(network(STUDENT), network(TEACHER, num_classes=9), [])
    assert all(value.isfinite() for value in loss(features).values())


@pytest.mark.parametrize('kind', ['VIDLoss', 'MMDLoss', 'AttentionTransferLoss', 'FitNetLoss'])
@pytest.mark.parametrize('channels', [(5, 6), (5, 6, 7, 8)])
def test_numbers_of_modules_that_differ_are_refused_where_none_are_chosen(kind, channels):
    with pytest.raises(
        InputError, match=f'{kind} .* taps has 3 of them, teacher_taps {len(channels)}'
    ):
        build(dict(type=f'mmmuse.{kind}'), teacher=specs(*channels, taps='teacher_taps'))
    chosen = build(dict(type=f'mmmuse.{kind}', modules=[2]), teacher=specs(*channels))
    features = Step(network(STUDENT), network(channels), [])
    assert all(value.isfinite() for value in chosen(features).values())


def test_modules_are_numbers_of_the_students_taps():
    for modules in ([0], [4], []):
        with pytest.raises(InputError, match='VIDLoss: modules are numbers from 1 to 3'):
            build(dict(type='mmmuse.VIDLoss', modules=modules))
    for kind in ('VIDLoss', 'ReviewKDLoss', 'MUSELoss'):
        for modules in (3, ['backbone.layer1'], [1.0], [True]):
            with pytest.raises(InputError, match=f'{kind}: modules is None or a list of integers'):
                build(dict(type=f'mmmuse.{kind}', modules=modules))


def test_a_network_without_features_is_refused_with_what_to_tap():
    untapped = NetworkSpecs(logits=FeatureSpec(5))
    teacher = NetworkSpecs(logits=FeatureSpec(5), taps='peers.b.taps')
    with pytest.raises(InputError, match=r'MUSELoss reads the last feature: set taps\.last'):
        build(dict(type='mmmuse.MUSELoss'), untapped)
    with pytest.raises(InputError, match=r'VIDLoss compares features: set peers\.b\.taps\.modules'):
        build(dict(type='mmmuse.VIDLoss'), teacher=teacher)
    with pytest.raises(InputError, match=r'MUSELoss compares features: set taps\.modules'):
        build(dict(type='mmmuse.MUSELoss'), specs(6))


def test_a_vector_is_refused_by_losses_of_maps_alone():
    vectors = NetworkSpecs((FeatureSpec(3), FeatureSpec(4)), FeatureSpec(6))
    for kind in ('VIDLoss', 'MMDLoss', 'FitNetLoss', 'AttentionTransferLoss'):
        with pytest.raises(
            InputError, match=f'{kind} compares maps, and the output of module 1 .* a vector'
        ):
            build(dict(type=f'mmmuse.{kind}'), vectors)
    assert build(dict(type='mmmuse.MUSELoss', critic=CRITIC), vectors).reads == {'vector'}


def test_a_loss_between_two_networks_is_refused_within_one_and_says_why():
    one = specs(*STUDENT)
    with pytest.raises(InputError, match='KDLoss compares two networks; within one network choose'):
        build_loss(dict(type='mmmuse.KDLoss'), one, one)


def test_a_name_without_the_prefix_is_that_of_mmmuse():
    assert isinstance(build(dict(type='KDLoss')), KDLoss)
