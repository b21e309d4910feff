"""The operators that PyTorch's exporter to ONNX knows: it collects the same ones for each export, for a second."""

import functools
from collections.abc import Iterator
from unittest import mock

import pytest


@pytest.fixture(scope='session')
def onnx_operators_collected_once() -> Iterator[None]:
    """Collect them once, in the versions of PyTorch that do."""
    try:
        from torch.onnx._internal.exporter._registration import ONNXRegistry
    except ImportError:
        yield
        return
    collected = staticmethod(functools.cache(ONNXRegistry.from_torchlib))
    with mock.patch.object(ONNXRegistry, 'from_torchlib', collected):
        yield
