import math

import pytest
import torch
from mmpretrain.models.losses import CrossEntropyLoss, LabelSmoothLoss
from mmpretrain.structures import DataSample

from mmmuse.errors import InputError
from mmmuse.functional import kd_loss
from mmmuse.heads import MUSEHead
from mmmuse.tapping.features import DistillFeatures, FeatureSpec, NetworkSpecs, Step

from ..conftest import labelled

HINT = dict(type='mmmuse.HintLoss')
MUSE = dict(type='mmmuse.MUSELoss', critic=dict(hidden_channels=4))


def head(**options) -> MUSEHead:
    num_classes = options.pop('num_classes', 5)
    logits = None if num_classes is None else FeatureSpec(num_classes)
    shallow = (FeatureSpec(3, (8, 8)), FeatureSpec(4, (4, 4)))
    return MUSEHead(NetworkSpecs(shallow, FeatureSpec(6, (2, 2)), logits), **options)


def step_features() -> DistillFeatures:
    return DistillFeatures(
        shallow=(torch.randn(4, 3, 4, 4), torch.randn(4, 4, 2, 2)),
        last=torch.randn(4, 6, 2, 2),
        logits=torch.randn(4, 5),
        exits=(torch.randn(4, 6, 2, 2), torch.randn(4, 6, 2, 2)),
    )


def all_losses(muse_head: MUSEHead) -> dict:
    features, samples = step_features(), labelled([0, 1, 2, 3])
    step = Step.within(features, samples)
    return {**muse_head.loss(features, samples), **muse_head.discrepancies(step)}


def exit_logits(exit, exit_map):
    return exit_map.mean((2, 3)) @ exit.fc.weight.t() + exit.fc.bias


def test_each_exit_adds_its_weighed_cross_entropy_and_distillation():
    muse_head, features = head(), step_features()
    losses = muse_head.loss(features, labelled([0, 1, 2, 3]))
    assert set(losses) == {'exit1.loss_ce', 'exit1.loss_kd', 'exit2.loss_ce', 'exit2.loss_kd'}
    for i in (1, 2):
        logits = exit_logits(muse_head.exits[i - 1], features.exits[i - 1])
        entropy = -sum(logits.log_softmax(1)[n, n] for n in range(4)) / 4
        torch.testing.assert_close(losses[f'exit{i}.loss_ce'], 0.9 * entropy)
        torch.testing.assert_close(
            losses[f'exit{i}.loss_kd'], 0.1 * kd_loss(logits, features.logits, 3.0)
        )


def test_exits_use_label_smoothing_as_mmpretrain_does():
    smoothing = dict(type='LabelSmoothLoss', label_smooth_val=0.1, num_classes=5, mode='original')
    muse_head, features = head(exit=dict(loss=smoothing), kd_weight=0.0), step_features()
    losses = muse_head.loss(features, labelled([4, 3, 2, 1]))
    own = LabelSmoothLoss(0.1, num_classes=5, mode='original')
    for i in (1, 2):
        logits = exit_logits(muse_head.exits[i - 1], features.exits[i - 1])
        expected = own(logits, torch.tensor([4, 3, 2, 1]))
        torch.testing.assert_close(losses[f'exit{i}.loss_ce'], 0.9 * expected)
        plain = -sum(logits.log_softmax(1)[n, 4 - n] for n in range(4)) / 4
        assert not torch.isclose(expected, plain)


def test_exits_learn_mixed_targets_as_mmpretrain_does():
    soft = dict(type='CrossEntropyLoss', use_soft=True)
    muse_head, features = head(exit=dict(loss=soft), kd_weight=0.0), step_features()
    scores = torch.rand(4, 5).softmax(1)
    losses = muse_head.loss(features, [DataSample().set_gt_score(score) for score in scores])
    for i in (1, 2):
        logits = exit_logits(muse_head.exits[i - 1], features.exits[i - 1])
        torch.testing.assert_close(
            losses[f'exit{i}.loss_ce'], 0.9 * CrossEntropyLoss(use_soft=True)(logits, scores)
        )
        torch.testing.assert_close(
            losses[f'exit{i}.loss_ce'], -0.9 * (scores * logits.log_softmax(1)).sum(1).mean()
        )


def test_an_exits_accuracy_goes_under_its_name():
    muse_head = head(exit=dict(cal_acc=True))
    losses = muse_head.loss(step_features(), labelled([0, 1, 2, 3]))
    assert {'exit1.accuracy_top-1', 'exit2.accuracy_top-1'} < set(losses)


@pytest.mark.parametrize(
    ('options', 'names'),
    [
        (dict(kd_weight=0.0), {'exit1.loss_ce', 'exit2.loss_ce'}),
        (dict(ce_weight=0.0), {'exit1.loss_kd', 'exit2.loss_kd'}),
        (dict(ce_weight=0.0, kd_weight=0.0, discrepancy=HINT), {'loss_l2'}),
    ],
)
def test_a_weight_of_zero_leaves_a_loss_out(options, names):
    assert set(all_losses(head(**options))) == names


@pytest.mark.parametrize(('epoch', 'counts'), [(0, True), (2, False)])
def test_exits_learn_logits_in_the_epochs_of_the_loss(hub, epoch, counts):
    hub.update_info('epoch', epoch)
    losses = head(kd=dict(epochs=(0, 2))).loss(step_features(), labelled([0, 1, 2, 3]))
    assert ('exit1.loss_kd' in losses) is counts
    assert 'exit1.loss_ce' in losses


def test_the_loss_of_logits_has_a_say_in_the_batch():
    assert head(kd=dict(type='mmmuse.DISTLoss')).min_batch_size == 2


@pytest.mark.parametrize(
    ('name', 'reads'),
    [('MUSELoss', 'vector'), ('FitNetLoss', 'maps'), ('KDCLLoss', 'ensemble')],
)
def test_exits_do_not_learn_features_of_the_last_logits(name, reads):
    with pytest.raises(InputError, match=f'head.kd: {name} reads {reads}, and an exit has only'):
        head(kd=dict(type=f'mmmuse.{name}'))


def test_exits_always_have_a_loss():
    with pytest.raises(InputError, match=r'with ce_weight=0 the exits learn from head\.kd alone'):
        head(ce_weight=0.0, kd=dict(epochs=(2, None)))


def test_what_is_left_out_is_not_built():
    bare = head(ce_weight=0.0, kd_weight=0.0, discrepancy=HINT)
    assert not list(bare.parameters())
    assert not bare.kd
    assert not head(kd_weight=0.0).kd
    assert len(head(ce_weight=0.0).exits) == 2


def test_two_discrepancies_of_one_type_are_both_trained():
    muse = [{**MUSE, 'combine': combine} for combine in ('mi', 'si')]
    muse_head = head(ce_weight=0.0, kd_weight=0.0, discrepancy=muse)
    losses = all_losses(muse_head)
    assert {'loss_muse', 'loss_muse_2', 'mi_loss_1', 'si_loss_2'} < set(losses)
    (losses['loss_muse'] + losses['loss_muse_2']).backward()
    assert all(parameter.grad is not None for parameter in muse_head.parameters())


def test_several_discrepancies_are_added():
    losses = all_losses(head(discrepancy=[HINT, MUSE]))
    assert {'loss_l2', 'loss_muse', 'mi_loss_1', 'si_loss_2'} < set(losses)


@pytest.mark.parametrize(
    ('options', 'reads'),
    [
        (dict(), True),
        (dict(ce_weight=0.0, kd_weight=0.0, discrepancy=HINT), True),
        (dict(ce_weight=0.0, kd_weight=0.0, discrepancy=MUSE), False),
    ],
)
def test_says_whether_it_needs_the_neck(options, reads):
    assert head(**options).reads_exits is reads


def test_the_distillation_loss_can_be_configured():
    muse_head, features = head(kd=dict(temperature=1.5), ce_weight=0.0), step_features()
    logits = exit_logits(muse_head.exits[0], features.exits[0])
    losses = muse_head.loss(features, labelled([0, 1, 2, 3]))
    torch.testing.assert_close(losses['exit1.loss_kd'], 0.1 * kd_loss(logits, features.logits, 1.5))


def test_exits_do_not_teach_the_last_logits():
    features = step_features()
    features.logits.requires_grad_()
    losses = head().loss(features, labelled([0, 1, 2, 3]))
    sum(losses.values()).backward()
    assert features.logits.grad is None


def test_predictions_gain_one_row_of_probabilities_per_exit():
    muse_head, features = head(), step_features()
    samples = muse_head.predict(features, [DataSample() for _ in range(4)])
    for n, sample in enumerate(samples):
        assert sample.exit_scores.shape == (2, 5)
        for exit, exit_map, row in zip(muse_head.exits, features.exits, sample.exit_scores):
            powers = exit_logits(exit, exit_map)[n].double().exp()
            assert [
                math.isclose(p, q, rel_tol=1e-4)
                for p, q in zip(row.tolist(), (powers / powers.sum()).tolist())
            ] == [True] * 5


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(ce_weight=0.0, kd_weight=0.0), 'nothing to compute'),
        (dict(num_classes=None), 'taps.logits'),
        (dict(ce_weight=-0.1), 'ce_weight is a number of at least 0, got -0.1'),
        (dict(kd_weight=-1.0), 'kd_weight is a number of at least 0, got -1.0'),
    ],
)
def test_what_cannot_be_built_is_explained(options, message):
    with pytest.raises(InputError, match=message):
        head(**options)


def test_another_number_of_maps_than_exits_is_refused():
    features = step_features()
    features.exits = features.exits[:1]
    with pytest.raises(InputError, match='2 exits and the neck gave 1 maps'):
        head().loss(features, labelled([0, 1, 2, 3]))
