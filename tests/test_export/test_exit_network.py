import subprocess
import sys
from copy import deepcopy
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmpretrain.structures import DataSample

from mmmuse.checkpoints.state_dicts import with_plain_names
from mmmuse.distillers import SelfDistiller
from mmmuse.errors import InputError
from mmmuse.export.exit_network import exit_logits, exit_network, exit_network_config
from mmmuse.export.exit_table import exit_costs
from mmmuse.export.standalone import write_standalone
from mmmuse.export.trained import build_distiller, load_trained
from mmmuse.heads.variants import variant_head
from mmmuse.registry import MODELS

from ..conftest import TAPS, small_classifier_config
from .conftest import settled

SHAPE = (3, 32, 32)


def small_config(variant: str = 'mi_x_si', num_classes: int = 5, **model) -> Config:
    student = small_classifier_config(num_classes)
    student['head']['loss'] = dict(type='LabelSmoothLoss', label_smooth_val=0.1)
    return Config(
        dict(
            default_scope='mmpretrain',
            model=dict(
                type='mmmuse.SelfDistiller',
                student=student,
                taps=TAPS,
                neck=dict(type='mmmuse.SelfDistillNeck'),
                head=variant_head(variant),
                **model,
            ),
        )
    )


@pytest.mark.parametrize('number', [1, 2, 3, 4])
def test_an_exit_alone_gives_the_exits_logits(number):
    config = small_config()
    distiller = settled(config, SHAPE)
    images = torch.randn(3, *SHAPE)
    network = exit_network(config.model, distiller, number)
    with torch.no_grad():
        torch.testing.assert_close(network(images), exit_logits(distiller, images)[number - 1])


def test_the_exits_logits_are_what_the_distiller_predicts():
    distiller = settled(small_config(), SHAPE)
    images = torch.randn(3, *SHAPE)
    with torch.no_grad():
        samples = distiller(images, [DataSample() for _ in images], mode='predict')
    logits = exit_logits(distiller, images)
    for i in range(3):
        scores = torch.stack([sample.exit_scores[i] for sample in samples])
        torch.testing.assert_close(logits[i].softmax(-1), scores)
    scores = torch.stack([sample.pred_score for sample in samples])
    torch.testing.assert_close(logits[3].softmax(-1), scores)


def test_an_exit_alone_learns_with_the_students_loss_and_no_module_behind_it():
    config = small_config()
    network = exit_network(config.model, build_distiller(config), 2)
    assert type(network.head.loss_module).__name__ == 'LabelSmoothLoss'
    assert not any('layer3' in name for name, _ in network.named_parameters())
    losses = network(torch.randn(2, *SHAPE), [DataSample().set_gt_label(1)] * 2, mode='loss')
    losses['loss'].backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize('stages', [2, 4])
def test_exits_before_frozen_stages_are_built_and_counted(stages):
    config = small_config()
    plain = exit_costs(config.model, build_distiller(config), SHAPE)
    config.model.student.backbone.frozen_stages = stages
    distiller = settled(config, SHAPE)
    images = torch.randn(3, *SHAPE)
    for cost, other in zip(exit_costs(config.model, distiller, SHAPE), plain):
        assert cost._replace(network=None) == other._replace(network=None)
        assert cost.network.state_dict().keys() == other.network.state_dict().keys()
        with torch.no_grad():
            logits = exit_logits(distiller, images)[cost.number - 1]
            torch.testing.assert_close(cost.network(images), logits)


@pytest.mark.slow
def test_mmpretrain_reads_an_exit_before_frozen_stages_without_mmmuse(tmp_path):
    config = small_config()
    config.model.student.backbone.update(depth=18, frozen_stages=4)
    distiller = settled(config, SHAPE)
    images = torch.randn(3, *SHAPE)
    model = exit_network_config(config.model, distiller, 1)
    network = exit_network(config.model, distiller, 1)
    write_standalone(tmp_path, config, model, network.state_dict(), {'model'}, 'Exit 1')
    script = f"""
import sys
sys.modules['mmmuse'] = None
sys.modules['mmdet'] = None  # Its import takes long, and mmpretrain does without.
import torch
from mmpretrain import get_model
folder = {str(tmp_path)!r}
network = get_model(folder + '/config.py', pretrained=folder + '/checkpoint.pth').train()
assert not network.backbone.body.layer1.training
torch.save(network.eval()(torch.load(folder + '/images.pth')), folder + '/logits.pth')
"""
    torch.save(images, tmp_path / 'images.pth')
    alone = subprocess.run(
        [sys.executable, '-c', script], capture_output=True, text=True, check=False
    )
    assert alone.returncode == 0, alone.stderr
    with torch.no_grad():
        torch.testing.assert_close(torch.load(tmp_path / 'logits.pth'), network(images))


def test_an_exit_of_a_multi_label_network_alone_predicts_each_label():
    config = small_config()
    head = dict(type='MultiLabelLinearClsHead', num_classes=5, in_channels=64, thr=0.25)
    config.model.student.head = head
    distiller = settled(config, SHAPE)
    network = exit_network(config.model, distiller, 2)
    images = torch.randn(3, *SHAPE)
    with torch.no_grad():
        scores = torch.stack([sample.pred_score for sample in network(images, mode='predict')])
    torch.testing.assert_close(scores, exit_logits(distiller, images)[1].sigmoid())
    assert network.head.thr == 0.25


def test_the_distillers_own_preprocessor_and_input_shape_go_with_an_exit():
    config = small_config(data_preprocessor=dict(mean=[1, 2, 3], std=[4, 5, 6]))
    config.model.input_shape = (3, 40, 40)
    model = exit_network_config(config.model, build_distiller(config), 1)
    assert model['data_preprocessor'] == dict(mean=[1, 2, 3], std=[4, 5, 6])
    assert model['backbone']['input_shape'] == (3, 40, 40)


def test_a_config_is_not_changed_by_reading_it():
    config = small_config()
    before = config.pretty_text
    distiller = build_distiller(config)
    exit_network_config(config.model, distiller, 1)
    assert config.pretty_text == before


@pytest.mark.parametrize('number', [0, 5, -1])
def test_an_exit_that_is_not_there_is_refused(number):
    config = small_config()
    with pytest.raises(
        InputError, match=f'unknown exit {number}; available: 1, 2, 3, and 4, the full network'
    ):
        exit_network_config(config.model, build_distiller(config), number)


def test_a_network_that_was_distilled_without_exits_has_none_to_export():
    config = small_config('mi_x_si_alone')
    with pytest.raises(InputError, match='without exits'):
        exit_network_config(config.model, build_distiller(config), 1)


def test_a_plain_config_has_no_exits():
    with pytest.raises(InputError, match='the config has no exits'):
        build_distiller(Config(dict(model=small_classifier_config())))


def test_costs_grow_with_the_exit_and_end_with_the_whole_network():
    config = small_config()
    distiller = build_distiller(config)
    costs = exit_costs(config.model, distiller, SHAPE)
    assert [cost.module for cost in costs] == [*TAPS['modules'], TAPS['last']]
    trunks = [cost.trunk_macs for cost in costs]
    assert trunks == sorted(trunks)
    assert all(cost.real.flops > cost.trunk_macs for cost in costs)
    assert costs[-1].real.params == sum(p.numel() for p in distiller.student.parameters())


def save(distiller, path, **more) -> str:
    weights = distiller.state_dict()
    rest = {name: value for name, value in weights.items() if not name.startswith('student.')}
    torch.save(dict(state_dict=with_plain_names(weights), **(more or dict(distiller=rest))), path)
    return str(path)


def test_trained_weights_come_back(tmp_path):
    config = small_config()
    distiller = settled(config, SHAPE)
    loaded = load_trained(config, save(distiller, tmp_path / 'a.pth'))
    assert not loaded.training
    images = torch.randn(2, *SHAPE)
    for own, expected in zip(exit_logits(loaded, images), exit_logits(distiller, images)):
        assert torch.equal(own, expected)


def test_the_exits_of_a_rival_with_muse_come_back_without_what_it_trained_with(tmp_path):
    config = small_config(kd_weight=3.0)
    config.model.type = 'mmmuse.FRSKDDistiller'
    rival = MODELS.build(deepcopy(config.model))
    loaded = load_trained(config, save(rival, tmp_path / 'a.pth'))
    assert type(loaded) is SelfDistiller
    images = torch.randn(2, *SHAPE)
    for own, expected in zip(exit_logits(loaded, images), exit_logits(rival.eval(), images)):
        assert torch.equal(own, expected)


def test_a_rival_alone_has_no_exits():
    config = small_config()
    config.model.update(type='mmmuse.FRSKDDistiller', head=None, neck=None)
    with pytest.raises(InputError, match='the config has no exits'):
        build_distiller(config)


def test_critics_of_another_width_do_not_matter(tmp_path):
    wide = small_config()
    path = save(build_distiller(wide), tmp_path / 'a.pth')
    narrow = small_config()
    narrow.model.head.discrepancy.critic.update(hidden_channels=8)
    load_trained(narrow, path)


def test_a_checkpoint_of_another_network_says_which_tensors_differ(tmp_path):
    path = save(build_distiller(small_config(num_classes=7)), tmp_path / 'a.pth')
    with pytest.raises(InputError, match=r'head.fc.bias \(\(5,\) in the model, \(7,\) in the file'):
        load_trained(small_config(), path)


def test_a_student_alone_has_no_trained_exits(tmp_path):
    path = save(build_distiller(small_config()), tmp_path / 'a.pth', meta=dict())
    with pytest.raises(InputError, match='its exits have not been trained'):
        load_trained(small_config(), path)


def test_a_tap_outside_the_backbone_cannot_stand_alone():
    config = small_config()
    distiller = build_distiller(config)
    distiller.tapped.paths = SimpleNamespace(shallow=['neck'] * 3, last='head')
    with pytest.raises(InputError, match="at 'neck' of a ImageClassifier"):
        exit_network_config(ConfigDict(config.model), distiller, 1)
