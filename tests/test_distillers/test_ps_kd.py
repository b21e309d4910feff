import copy
import math
from pathlib import Path

import pytest
import torch
from mmpretrain.structures import DataSample

from mmmuse.distillers.ps_kd import PSKDDistiller, with_softened_targets
from mmmuse.errors import InputError
from mmmuse.registry import MODELS

from ..conftest import TAPS, labelled, small_classifier_config
from ..test_hooks.test_student_checkpoint import assert_same, student_config, train
from .rivals import rival

LABELS = [0, 3, 1, 2]


def slow_cross_entropy(logits: list, targets: list) -> float:
    total = 0.0
    for row, target in zip(logits, targets):
        log_sum = math.log(sum(math.exp(value) for value in row))
        total -= sum(t * (z - log_sum) for t, z in zip(target, row))
    return total / len(logits)


def softened(labels: list[int], past: torch.Tensor, weight: float) -> list[list[float]]:
    targets = []
    for label, row in zip(labels, past.tolist()):
        powers = [math.exp(value) for value in row]
        targets.append(
            [
                (1 - weight) * (k == label) + weight * power / sum(powers)
                for k, power in enumerate(powers)
            ]
        )
    return targets


def step(distiller, images) -> dict[str, torch.Tensor]:
    losses = distiller(images, labelled(LABELS), mode='loss')
    distiller.parse_losses(losses)[0].backward()
    with torch.no_grad():
        for parameter in distiller.parameters():
            parameter -= parameter.grad
            parameter.grad = None
    return losses


def test_the_first_epoch_has_the_labels_as_targets(hub):
    hub.update_info_dict(dict(epoch=0, max_epochs=4))
    distiller, images = rival('ps_kd'), torch.randn(4, 3, 16, 16)
    logits = copy.deepcopy(distiller.student)(images)
    losses = distiller(images, labelled(LABELS), mode='loss')
    targets = softened(LABELS, logits, 0.0)
    assert losses['loss_student'].item() == pytest.approx(
        slow_cross_entropy(logits.tolist(), targets), rel=1e-4
    )


@pytest.mark.parametrize('training', [False, True], ids=['eval', 'train'])
def test_targets_are_softened_by_the_network_at_the_end_of_the_epoch_before(hub, training):
    hub.update_info_dict(dict(epoch=1, max_epochs=4))
    distiller = rival('ps_kd', final_weight=0.6, copy_in_training_mode=training)
    distiller.student.head.fc.weight.data.mul_(20)
    at_the_start = copy.deepcopy(distiller.student).train(training)
    step(distiller, torch.randn(4, 3, 16, 16))
    images = torch.randn(4, 3, 16, 16)
    now = copy.deepcopy(distiller.student)
    losses = distiller(images, labelled(LABELS), mode='loss')
    # a_2 = 0.6 x 2 / 4 in the second of four epochs.
    targets = softened(LABELS, at_the_start(images), 0.3)
    assert losses['loss_student'].item() == pytest.approx(
        slow_cross_entropy(now(images).tolist(), targets), rel=1e-4
    )


def test_the_next_epoch_takes_the_network_as_it_is_then(hub):
    hub.update_info_dict(dict(epoch=1, max_epochs=4))
    distiller, images = rival('ps_kd'), torch.randn(4, 3, 16, 16)
    step(distiller, images)
    hub.update_info('epoch', 2)
    now = copy.deepcopy(distiller.student)
    losses = distiller(images, labelled(LABELS), mode='loss')
    targets = softened(LABELS, copy.deepcopy(now).eval()(images), 0.8 * 3 / 4)
    assert losses['loss_student'].item() == pytest.approx(
        slow_cross_entropy(now(images).tolist(), targets), rel=1e-4
    )


@pytest.mark.parametrize('loads', [False, True])
def test_a_second_training_of_the_same_object_has_copies_of_its_own(hub, loads):
    distiller, images = rival('ps_kd'), torch.randn(4, 3, 16, 16)
    for epoch in (1,) if loads else (0, 1):
        hub.update_info_dict(dict(epoch=epoch, max_epochs=2))
        step(distiller, images)
    if loads:
        distiller.load_state_dict(distiller.state_dict())
    else:
        hub.update_info('epoch', 0)
        step(distiller, images)
    hub.update_info('epoch', 1)
    now = copy.deepcopy(distiller.student)
    losses = distiller(images, labelled(LABELS), mode='loss')
    targets = softened(LABELS, copy.deepcopy(now).eval()(images), 0.8)
    assert losses['loss_student'].item() == pytest.approx(
        slow_cross_entropy(now(images).tolist(), targets), rel=1e-4
    )


def test_targets_mix_labels_or_scores_and_the_callers_samples_stay():
    scores = torch.tensor([[0.1, 0.9], [0.5, 0.5]])
    samples = labelled([0, 1])
    found = with_softened_targets(samples, scores, 0.5)
    torch.testing.assert_close(found[0].gt_score, torch.tensor([0.55, 0.45]))
    torch.testing.assert_close(found[1].gt_score, torch.tensor([0.25, 0.75]))
    assert found[0].gt_label == 0
    assert not any('gt_score' in sample for sample in samples)
    mixed = [DataSample().set_gt_score(torch.tensor([0.3, 0.7])) for _ in range(2)]
    found = with_softened_targets(mixed, scores, 0.5)
    torch.testing.assert_close(found[0].gt_score, torch.tensor([0.2, 0.8]))
    assert mixed[0].gt_score.tolist() == torch.tensor([0.3, 0.7]).tolist()


def test_the_copy_is_no_part_of_the_distiller_but_follows_it(hub):
    hub.update_info_dict(dict(epoch=1, max_epochs=4))
    distiller = rival('ps_kd')
    names = list(distiller.state_dict()), [name for name, _ in distiller.named_parameters()]
    step(distiller, torch.randn(4, 3, 16, 16))
    assert names == (
        list(distiller.state_dict()),
        [name for name, _ in distiller.named_parameters()],
    )
    losses = distiller.double()(torch.randn(4, 3, 16, 16).double(), labelled(LABELS), mode='loss')
    assert losses['loss_student'].dtype == torch.float64


def config() -> dict:
    return dict(type='mmmuse.PSKDDistiller', student=student_config(), taps=TAPS)


def test_a_resumed_run_goes_on_as_one_that_was_not_interrupted(tmp_path: Path):
    straight, _ = train(tmp_path / 'straight', config(), epochs=3)
    interrupted = str(tmp_path / 'straight' / 'epoch_2.pth')
    resumed, _ = train(tmp_path / 'resumed', config(), epochs=3, load_from=interrupted, resume=True)
    losses = [
        runner.message_hub.get_scalar('train/loss').data[0][-3:] for runner in (straight, resumed)
    ]
    assert losses[0].tolist() == losses[1].tolist()
    assert_same(resumed.model.state_dict(), straight.model.state_dict())


def test_the_softened_targets_change_what_is_learned(tmp_path: Path):
    plain, _ = train(tmp_path / 'plain', {**config(), 'final_weight': 0.0}, epochs=2)
    softened, _ = train(tmp_path / 'softened', config(), epochs=2)
    first, second = (run.model.student.head.fc.weight for run in (plain, softened))
    assert not torch.equal(first, second)


def test_an_iteration_based_loop_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match='PSKDDistiller counts epochs'):
        train(
            tmp_path,
            config(),
            train_cfg=dict(by_epoch=False, max_iters=2),
            param_scheduler=None,
        )


@pytest.mark.parametrize('weight', [-0.1, 1.1, float('nan')])
def test_a_weight_outside_of_0_to_1_is_refused(weight):
    with pytest.raises(InputError, match='final_weight'):
        MODELS.build({**config(), 'final_weight': weight})


def test_scores_of_samples_without_labels_are_refused(hub):
    hub.update_info_dict(dict(epoch=1, max_epochs=4))
    with pytest.raises(InputError, match='PSKDDistiller needs one class label'):
        rival('ps_kd')(torch.randn(2, 3, 16, 16), [DataSample(), DataSample()], mode='loss')


def test_an_accuracy_of_mixed_targets_is_refused_when_it_is_built():
    student = small_classifier_config()
    student['head']['cal_acc'] = True
    with pytest.raises(InputError, match=r'set student\.head\.cal_acc=False'):
        PSKDDistiller(student, taps=dict(logits='head'))
