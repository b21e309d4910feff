"""The example of docs/adding_a_loss.md, as a user would have it: in a module of their own."""

import re
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmmuse.registry import MODELS

from ..conftest import labelled, small_distiller
from ..test_distillers.transfer import offline, online

PAGE = Path(__file__).resolve().parents[2] / 'docs' / 'adding_a_loss.md'
COSINE = dict(type='mmmuse.CosineLoss', loss_weight=0.1)


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """Import the page's class by ``custom_imports``, and forget it afterwards."""
    (code, *_) = re.findall(
        r'```python title="cosine_loss.py"\n(.*?)```', PAGE.read_text(), re.DOTALL
    )
    (tmp_path / 'cosine_loss.py').write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    config = tmp_path / 'config.py'
    config.write_text("custom_imports = dict(imports=['cosine_loss'])\n")
    Config.fromfile(config)
    yield
    MODELS._module_dict.pop('CosineLoss')
    sys.modules.pop('cosine_loss')


def in_self():
    head = dict(type='mmmuse.MUSEHead', ce_weight=0.0, kd_weight=0.0, discrepancy=COSINE)
    return small_distiller(head=head, neck=None), 'loss_cosine'


@pytest.mark.parametrize(
    'build',
    [in_self, lambda: (offline(COSINE), 'loss_cosine'), lambda: (online(COSINE), 'a.loss_cosine')],
    ids=['self', 'offline', 'online'],
)
@pytest.mark.usefixtures('own_module')
def test_the_pages_loss_trains_in_every_kind_of_distillation(build):
    distiller, name = build()
    losses = distiller(torch.randn(4, 3, 16, 16), labelled([0, 1, 2, 3]), mode='loss')
    assert 0 <= losses[name].item() <= 2
    total, _ = distiller.parse_losses(losses)
    total.backward()
    missing = [key for key, value in distiller.named_parameters() if value.grad is None]
    assert missing == []
