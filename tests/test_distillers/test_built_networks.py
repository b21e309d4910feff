"""A network that is given as a built model keeps its weights in MMEngine's runner."""

from copy import deepcopy

import pytest
import torch
from mmengine.hooks import Hook
from torch import nn

from mmmuse.distillers import OfflineDistiller, OnlineDistiller, SelfDistiller, base
from mmmuse.registry import MODELS

from ..conftest import TAPS
from ..test_hooks.test_student_checkpoint import build_runner, student_config

PEER_TAPS = dict(last='backbone.layer4', logits='head')
KD = [dict(type='mmmuse.KDLoss')]


class AtStart(Hook):
    """Keeps the weights with which the training starts, and ends it."""

    def before_train(self, runner) -> None:
        self.weights = deepcopy(runner.model.state_dict())
        runner.train_loop.stop_training = True
        runner.train_loop._max_epochs = 0


def built() -> nn.Module:
    """The student, with weights that no initialisation gives."""
    model = MODELS.build(student_config())
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.25)
    return model


def self_distiller(student, **options) -> SelfDistiller:
    muse = dict(type='mmmuse.MUSELoss', critic=dict(hidden_channels=4))
    head = dict(type='mmmuse.MUSEHead', discrepancy=muse)
    neck = dict(type='mmmuse.SelfDistillNeck')
    return SelfDistiller(student, TAPS, head=head, neck=neck, **options)


def started(distiller: nn.Module, tmp_path) -> dict[str, torch.Tensor]:
    """The weights at the first step of a run."""
    hook = AtStart()
    runner = build_runner(tmp_path, model=distiller)
    runner.register_hook(hook)
    runner.train()
    return hook.weights


def parameters(weights: dict, prefix: str) -> list[torch.Tensor]:
    return [
        value
        for name, value in weights.items()
        if name.startswith(prefix) and name.endswith(('weight', 'bias'))
    ]


def is_kept(weights: dict, prefix: str) -> bool:
    found = parameters(weights, prefix)
    assert found
    return all(torch.equal(value, torch.full_like(value, 0.25)) for value in found)


def test_a_student_keeps_its_weights(tmp_path):
    assert is_kept(started(self_distiller(built()), tmp_path), 'student.')


def test_a_student_from_a_config_is_initialised(tmp_path):
    distiller = self_distiller(student_config())
    nn.init.constant_(distiller.student.backbone.layer1[0].bn1.weight, 0.25)
    weights = started(distiller, tmp_path)
    norm = weights['student.backbone.layer1.0.bn1.weight']
    assert torch.equal(norm, torch.ones_like(norm))


def test_a_student_from_a_config_loads_its_pretrained_weights(tmp_path):
    torch.save(built().state_dict(), tmp_path / 'plain.pth')
    pretrained = dict(type='Pretrained', checkpoint=str(tmp_path / 'plain.pth'))
    distiller = self_distiller({**student_config(), 'init_cfg': pretrained})
    assert not is_kept(distiller.state_dict(), 'student.')
    assert is_kept(started(distiller, tmp_path), 'student.')


def test_an_init_cfg_of_the_distiller_does_not_reach_a_built_student(tmp_path):
    distiller = self_distiller(
        built(), init_cfg=dict(type='Constant', layer=['Conv2d', 'Linear'], val=0.5)
    )
    weights = started(distiller, tmp_path)
    assert is_kept(weights, 'student.')
    critic = weights['muse.discrepancies.0.mi_critics.0.pair_score.hidden.weight']
    assert torch.equal(critic, torch.full_like(critic, 0.5))


def test_what_is_added_to_a_built_student_is_initialised(tmp_path):
    distiller = self_distiller(built())
    nn.init.constant_(distiller.muse.exits[0].fc.weight, 0.25)
    assert not is_kept(started(distiller, tmp_path), 'muse.exits.0.fc.weight')


def test_a_student_and_a_teacher_of_offline_distillation_keep_theirs(tmp_path):
    distiller = OfflineDistiller(built(), built(), PEER_TAPS, KD)
    assert is_kept(started(distiller, tmp_path), 'student.')
    assert is_kept(distiller.teacher.model.state_dict(), '')


@pytest.mark.parametrize('given', ['a', 'b'])
def test_each_peer_keeps_its_own_and_no_other_peer_does(tmp_path, given):
    peers = {
        name: dict(model=built() if name == given else student_config(), taps=PEER_TAPS)
        for name in 'ab'
    }
    distiller = OnlineDistiller(peers, KD)
    for network in distiller.networks.values():
        nn.init.constant_(network.backbone.layer1[0].bn1.weight, 0.25)
    weights = started(distiller, tmp_path)
    prefixes = {'a': 'student.', 'b': 'peers.b.'}
    assert is_kept(weights, prefixes.pop(given))
    (other,) = prefixes.values()
    norm = weights[f'{other}backbone.layer1.0.bn1.weight']
    assert torch.equal(norm, torch.ones_like(norm))


def test_a_file_that_a_built_student_was_to_load_and_did_not_is_said(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(base, 'print_log', lambda message, **_: said.append(message))
    torch.save(built().state_dict(), tmp_path / 'plain.pth')
    pretrained = dict(type='Pretrained', checkpoint=str(tmp_path / 'plain.pth'))
    config = {**student_config(), 'init_cfg': pretrained}
    self_distiller(config)
    self_distiller(built())
    loaded = MODELS.build(config)
    loaded.init_weights()
    self_distiller(loaded)
    assert said == []
    self_distiller(MODELS.build(config))
    (message,) = said
    assert 'the file in init_cfg of ImageClassifier is not loaded; give its config' in message


def test_a_student_of_another_distiller_keeps_what_it_has_learned(tmp_path):
    first = self_distiller(student_config())
    for parameter in first.student.parameters():
        nn.init.constant_(parameter, 0.25)
    assert is_kept(started(self_distiller(first.student), tmp_path), 'student.')
