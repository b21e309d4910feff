"""The gradients' ratio in the log of a run, against two backward passes by hand."""

import copy
import json

import pytest
import torch
from mmengine.hooks import Hook
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mmmuse.distillers.gradient_ratio import gradient_ratio
from mmmuse.registry import MODELS
from mmmuse.tapping.features import DistillFeatures

from ..conftest import small_distiller
from ..test_distillers.transfer import LABELS, MUSE, TAPS, batch, network, online
from .test_student_checkpoint import distiller_config, student_config, train

RATIO = 'information/gradient_ratio'


def logging_every(interval: int) -> list[dict]:
    return [dict(type='mmmuse.InformationLoggerHook', interval=interval)]


def logged(work_dir, name: str) -> dict[int, float]:
    """Return a scalar of a run by step."""
    (log,) = work_dir.glob('*/vis_data/scalars.json')
    records = map(json.loads, log.read_text().splitlines())
    return {record['step']: record[name] for record in records if name in record}


def length_at(feature: torch.Tensor, loss: torch.Tensor) -> float:
    return torch.autograd.grad(loss, feature, retain_graph=True)[0].norm().item()


class ByHand(Hook):
    """Takes both gradients at one module's output in a copy of the model, before each step.

    MUSE's loss is that of every network; the own loss of ``peer`` is under its prefix.
    """

    def __init__(self, module: str, own_loss: str) -> None:
        self.module, self.own_loss = module, own_loss
        self.ratios: dict[int, float] = {}

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        model = copy.deepcopy(runner.model)
        model.measures_gradients = False
        outputs = []
        model.get_submodule(self.module).register_forward_hook(
            lambda *args: outputs.append(args[2])
        )
        inputs = model.data_preprocessor(data_batch, training=True)
        losses = model(**inputs, mode='loss')
        (feature,) = outputs
        muse = sum(value for name, value in losses.items() if name.endswith('loss_muse'))
        task = losses[self.own_loss]
        self.ratios[runner.iter + 1] = length_at(feature, muse) / length_at(feature, task)


def test_it_is_logged_every_interval_and_is_that_of_two_backward_passes(tmp_path):
    by_hand = ByHand('student.backbone.layer3', 'loss_student')  # The deepest shallow feature.
    train(tmp_path, epochs=2, custom_hooks=[*logging_every(2), by_hand])
    found = logged(tmp_path, RATIO)
    assert list(found) == [2, 4, 6]
    assert min(found.values()) > 0
    assert found == pytest.approx({step: by_hand.ratios[step] for step in found}, rel=1e-4)


def test_each_peer_logs_its_own(tmp_path):
    config = dict(
        type='mmmuse.OnlineDistiller',
        peers={
            name: dict(model=network(width, in_channels=1), taps=TAPS)
            for name, width in (('a', 4), ('b', 6))
        },
        losses=[MUSE],
        data_preprocessor=dict(type='mmmuse.BatchedDataPreprocessor', mean=[120.0], std=[60.0]),
    )
    by_hand = ByHand('student.backbone.layer2', 'a.loss')
    train(tmp_path, config, custom_hooks=[*logging_every(3), by_hand])
    of_a = logged(tmp_path, 'information/a.gradient_ratio')
    assert of_a == pytest.approx({3: by_hand.ratios[3]}, rel=1e-4)
    of_b = logged(tmp_path, 'information/b.gradient_ratio')
    assert list(of_b) == [3]
    assert of_b != pytest.approx(of_a, rel=1e-4)


def test_a_frozen_backbone_has_none_and_trains(tmp_path):
    student = student_config()
    student['backbone']['frozen_stages'] = 4
    train(tmp_path, distiller_config(student), custom_hooks=logging_every(1))
    assert logged(tmp_path, RATIO) == {}
    assert list(logged(tmp_path, 'information/mi_loss_3')) == [1, 2, 3]


def test_a_network_whose_own_loss_has_no_gradient_has_none_and_trains():
    distiller = online(MUSE, own_weight=0.0)
    distiller.measures_gradients = True
    total, log = distiller.parse_losses(distiller(*batch(), mode='loss'))
    assert total.isfinite()
    assert not [name for name in log if name.endswith('gradient_ratio')]


def test_tensorboard_gets_it(tmp_path):
    visualizer = dict(type='UniversalVisualizer', vis_backends=[dict(type='TensorboardVisBackend')])
    train(tmp_path, custom_hooks=logging_every(2), visualizer=visualizer)
    events = EventAccumulator(str(next(tmp_path.glob('*/vis_data')))).Reload().Scalars(RATIO)
    assert [event.step for event in events] == [2]
    assert events[0].value > 0


@pytest.mark.parametrize('kind', ['self', 'offline', 'online'])
def test_measuring_does_not_change_a_steps_gradients(kind):
    images, samples = batch()
    if kind == 'self':
        distiller = small_distiller().train()
        images = torch.randn(4, 3, 32, 32)
    elif kind == 'offline':
        config = dict(student=network(), teacher=MODELS.build(network(6)), taps=TAPS)
        distiller = MODELS.build(dict(type='mmmuse.OfflineDistiller', losses=[MUSE], **config))
        distiller.train().prepare(LABELS)
    else:
        distiller = online(MUSE)
    gradients = {}
    for measured in (False, True):
        copied = copy.deepcopy(distiller)
        copied.measures_gradients = measured
        torch.manual_seed(1)  # Of the locations that the critics draw.
        total, log = copied.parse_losses(copied(images, samples, mode='loss'))
        assert any('gradient_ratio' in name for name in log) == measured
        total.backward()
        gradients[measured] = {name: p.grad for name, p in copied.named_parameters()}
    assert gradients[True].keys() == gradients[False].keys()
    for name, gradient in gradients[False].items():
        assert torch.equal(gradients[True][name], gradient), name


def test_it_is_taken_at_the_deepest_module_that_muse_reads():
    first = torch.randn(2, 3, 4, 4, requires_grad=True)
    second = first * torch.randn(2, 3, 4, 4)
    features = DistillFeatures((first, second), second.mean((2, 3)))
    own, muse = second.square().sum(), 3 * first.square().sum()
    (found,) = gradient_ratio(features, {'loss': own}, {'loss_muse': muse}).values()
    assert found.item() == pytest.approx(length_at(first, muse) / length_at(first, own))
    both = {'loss_muse': muse, 'loss_muse_2': second.abs().sum()}
    (found,) = gradient_ratio(features, {'loss': own}, both).values()
    assert found.item() == pytest.approx(
        length_at(second, both['loss_muse_2']) / length_at(second, own)
    )
    unread = torch.randn(2, 3, requires_grad=True).sum()
    assert gradient_ratio(features, {'loss': own}, {'loss_muse': unread}) == {}


def test_the_ratio_of_float16_is_that_of_float32():
    ratios = []
    images, samples = batch()
    for dtype in (torch.float16, torch.float32):
        torch.manual_seed(0)
        distiller = small_distiller()
        distiller.muse.discrepancies[0].loss_weight = 1e-4
        distiller.measures_gradients = True
        with torch.autocast('cpu', dtype, enabled=dtype == torch.float16):
            losses = distiller(images, samples, mode='loss')
        ratios.append(losses['gradient_ratio'].item())
    assert ratios[0] == pytest.approx(ratios[1], rel=0.03)
