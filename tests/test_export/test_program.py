"""Forms for older versions of PyTorch, which this version can still write."""

import inspect
from functools import partial

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from mmmuse.errors import InputError
from mmmuse.export import program
from mmmuse.export.onnx_modules import Logits
from mmmuse.export.program import INPUT, Program, check_programs_supported, to_onnx


class Network(nn.Module):
    """A network whose code may be specific to one batch size."""

    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.backbone = nn.Flatten()
        self.linear = nn.Linear(12, 5)

    def forward(self, images, mode='tensor'):
        assert mode == 'tensor'
        return self.linear(images.reshape(self.batch_size, 12))


@pytest.fixture(autouse=True)
def _records_calls(monkeypatch):
    """The exporter of PyTorch before 2.5."""
    parameters = inspect.signature(torch.onnx.export).parameters
    if 'dynamo' in parameters:
        monkeypatch.setattr(torch.onnx, 'export', partial(torch.onnx.export, dynamo=False))
    monkeypatch.setattr(program, '_ONNX_TAKES_PROGRAMS', False)


def program_of(network: nn.Module) -> Program:
    return Program(Logits(network), torch.randn(1, 3, 2, 2))


def test_a_recorded_call_takes_batches_of_any_size():
    network = Network(-1)
    model = to_onnx(program_of(network), ('logits',))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    images = torch.randn(5, 3, 2, 2)
    (logits,) = session.run(None, {INPUT: images.numpy()})
    np.testing.assert_allclose(logits, network(images).detach(), rtol=1e-5, atol=1e-6)


def test_a_network_that_is_specific_to_one_batch_size_is_refused():
    said = r'the ONNX export does not support Flatten for batches of any size .*; omit these forms'
    with pytest.raises(InputError, match=said):
        to_onnx(program_of(Network(2)), ('logits',))


def test_programs_are_refused_where_this_version_has_none(monkeypatch):
    check_programs_supported()
    monkeypatch.setattr(program, '_HAS_PROGRAMS', False)
    with pytest.raises(InputError, match=r'--torch-export needs PyTorch 2.3 or later, found \d'):
        check_programs_supported()
