"""The operators that PyTorch's exporter to ONNX knows: it collects the same ones for each export, for a second."""

import functools
from collections.abc import Iterator
from unittest import mock

import pytest


@pytest.fixture(scope='session')
def onnx_operators_collected_once() -> Iterator[None]:
    """Collect them once, in the versions of PyTorch that do, and so those that have no kernel of their own."""
    try:
        from torch._export.utils import _materialize_cpp_cia_ops
        from torch.onnx._internal.exporter._registration import ONNXRegistry
    except ImportError:
        yield
        return
    collected = staticmethod(functools.cache(ONNXRegistry.from_torchlib))
    with (
        mock.patch.object(ONNXRegistry, 'from_torchlib', collected),
        # Called for each of some twenty namespaces; it only makes them known.
        mock.patch(
            'torch._export.utils._materialize_cpp_cia_ops',
            functools.cache(_materialize_cpp_cia_ops),
        ),
    ):
        yield
