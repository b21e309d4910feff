"""The plain loops that mmmuse's steps are compared with do the same work."""

import copy
import json
import runpy

import pytest
import torch

from mmmuse.command_line.step_variants import noise_batch
from mmmuse.command_line.torchdistill_step import torchdistill_step
from tests.conftest import ROOT

TOOL = 'benchmark/peers.py'


@pytest.fixture(scope='module')
def peers() -> dict:
    return runpy.run_path(str(ROOT / 'tools' / TOOL), run_name='peers')


def of_mmmuse(distiller, data: dict) -> tuple[torch.Tensor, dict]:
    """Return mmmuse's loss and the gradients of the student."""
    distiller.train()
    loss, _ = distiller.parse_losses(distiller(**data, mode='loss'))
    loss.backward()
    return loss, {name: weight.grad for name, weight in distiller.student.named_parameters()}


@pytest.mark.parametrize('method', ['BYOT', 'KD', 'VID', 'CRD'])
def test_the_plain_loop_has_the_same_loss_and_gradients(peers, method, tmp_path):
    if method == 'BYOT':
        distiller = peers['build'](peers['BYOT'])
    else:
        distiller = peers['build_offline'](str(tmp_path), method)
    own = copy.deepcopy(distiller).train()
    data = distiller.data_preprocessor(noise_batch(4), training=True)
    labels = torch.stack([sample.gt_label for sample in data['data_samples']]).flatten()
    torch.manual_seed(1)  # CRD draws negatives.
    loss, gradients = of_mmmuse(distiller, data)
    torch.manual_seed(1)
    plain = peers['PLAIN'][method](own)(data['inputs'], labels)
    plain.backward()
    torch.testing.assert_close(plain, loss)
    for name, weight in own.student.named_parameters():
        torch.testing.assert_close(weight.grad, gradients[name], rtol=1e-3, atol=1e-5)


def test_the_table_has_the_plain_loop_and_mmmuse(tool, tmp_path):
    figures = tmp_path / 'figures.json'
    options = ['--losses', 'BYOT', '--batch-size', 2, '--steps', 1, '--warmup', 0]
    finished = tool(TOOL, *options, '--json', figures)
    assert finished.code == 0, finished.err
    assert 'BYOT, ResNet-18: plain loop' in finished.out
    seconds = json.loads(figures.read_text())['seconds']['BYOT']
    assert {'plain loop', 'mmmuse', 'the network without BYOT'} == seconds.keys()


@pytest.mark.parametrize('loss', ['KD', 'VID', 'CRD'])
def test_torchdistill_trains_the_same_pair(peers, loss, tmp_path):
    pytest.importorskip('torchdistill', reason='uv pip install --group peers')
    distiller = peers['build_offline'](str(tmp_path), loss)
    student, teacher = (
        peers['Logits'](each) for each in (distiller.student, distiller.teacher.model)
    )
    batch = noise_batch(4)
    images = distiller.data_preprocessor(batch, training=True)['inputs']
    plain = peers['PLAIN'][loss](copy.deepcopy(distiller).train())(images, batch['gt_label'])
    weight = distiller.student.backbone.layer1[0].conv1.weight
    before = weight.clone()
    own = torchdistill_step(loss, student, teacher, batch, peers['SGD'], 'cpu', 50_000)(images)
    assert not torch.equal(weight, before)
    if loss == 'KD':  # The others have modules of their own, whose first weights are drawn.
        torch.testing.assert_close(own, plain)
