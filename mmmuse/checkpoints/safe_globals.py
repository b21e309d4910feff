"""The classes and functions that a checkpoint may refer to, each harmless for any arguments.

MMEngine's list holds ``getattr``, from which a pickle reaches any function, and NumPy's ``dtype``, whose
state can declare the bytes of a file to be pointers. Here both are replaced by stand-ins that accept
only what a checkpoint of MMEngine has.
"""

import importlib
import math
import re
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer

_STATISTICS = ('min', 'max', 'mean', 'current')
_FORMULAS = ('_annealing_cos', '_annealing_linear')  # Of numbers, without any effect.
_KINDS = 'biufcSU'  # Numbers and text; no objects, no records.
# Of PyTorch's own list: what the tensors and optimizers of a checkpoint need.
_OF_PYTORCH = re.compile(
    r'_codecs\.encode|collections\.(OrderedDict|Counter)|builtins\.(set|complex)'
    r'|torch\.(Size|device|Tensor|nn\.parameter\.Parameter)'
    r'|torch\._utils\._rebuild_(tensor|tensor_v2|tensor_v3|parameter)'
    r'|torch\.(cuda\.)?[A-Z]\w*Storage|torch\.storage\.(Untyped|Typed)Storage'
    r'|torch\.(b?float|complex|u?int|bool)\w*'
)


class _DType:
    """Stands in for ``numpy.dtype``: numbers and text only."""

    __hash__ = None

    def __init__(self, name: Any, *_: Any) -> None:
        if isinstance(name, bytes):
            name = name.decode('ascii')
        dtype = np.dtype(name) if isinstance(name, str) else None
        if dtype is None or dtype.kind not in _KINDS or dtype.subdtype or dtype.names:
            raise UnpicklingError(f'Unsupported class: an array of {name!r}')
        self.dtype = dtype

    def __setstate__(self, state: tuple) -> None:
        order, *of_records, size, _, flags = state[1:8]
        order = order.decode('ascii') if isinstance(order, bytes) else order
        if (
            order not in ('<', '>', '=', '|')
            or any(part is not None for part in of_records)
            or size not in (-1, self.dtype.itemsize)
            # 8: of text, whose bytes need no initialisation.
            or flags not in (0, 8)
        ):
            raise UnpicklingError('Unsupported class: an array of records or objects')
        self.dtype = np.dtype(self.dtype.newbyteorder(order).str)


class _Array:
    """Stands in for ``numpy.ndarray``; :func:`with_arrays` replaces it."""

    __hash__ = None

    def __init__(self) -> None:
        self.value = np.empty(0)

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, is_fortran, data = state
        self.value = _array(dtype, data, shape, 'F' if is_fortran else 'C')


def _array(dtype: Any, data: Any, shape: Any, order: str = 'C') -> np.ndarray:
    if not isinstance(dtype, _DType) or not isinstance(data, bytes):
        raise UnpicklingError('Unsupported class: an array of objects')
    if len(data) != math.prod(shape) * dtype.dtype.itemsize or min(shape, default=0) < 0:
        raise UnpicklingError(f'an array of shape {shape} has {len(data)} bytes')
    if dtype.dtype.kind == 'b' and data.strip(b'\0\1'):
        raise UnpicklingError('a boolean array has other values')
    return np.ndarray(shape, dtype.dtype, bytearray(data), order=order)


def _reconstruct(kind: Any, *_: Any) -> _Array:
    if kind is not _Array:
        raise UnpicklingError(f'Unsupported class: an array of type {kind}')
    return _Array()


def _scalar(dtype: Any, data: Any = b'') -> np.generic:
    return _array(dtype, data, ())[()]


class _History(HistoryBuffer):
    """Stands in for ``HistoryBuffer``: its arrays only, without functions of the file."""

    def __setstate__(self, state: dict) -> None:
        logged, counts = state['_log_history'].value, state['_count_history'].value
        length = state.get('max_length', 1000000)
        if (
            type(length) is not int
            or length < 1
            or {logged.ndim, counts.ndim} != {1}
            or {logged.dtype.kind, counts.dtype.kind} - {*'iuf'}
        ):
            raise UnpicklingError('a history has other values than numbers')
        self.__init__(logged, counts, length)
        self.__class__ = HistoryBuffer


class _OneCycle:
    """Stands in for the class of ``OneCycleLR``, whose formula MMEngine saves as an attribute of it."""

    __hash__ = None

    def __new__(cls, *_: Any) -> '_OneCycle':
        raise UnpicklingError('Unsupported class: OneCycleParamScheduler')


def _getattr(owner: Any, name: Any) -> Any:
    """Return a statistic of ``HistoryBuffer`` or a formula of ``OneCycleLR``, which MMEngine saves."""
    if owner is _OneCycle and name in _FORMULAS:
        from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler

        return getattr(OneCycleParamScheduler, name)
    if owner is not _History or name not in _STATISTICS:
        raise UnpicklingError(f'Unsupported global: getattr({owner!r}, {name!r})')
    return getattr(HistoryBuffer, name)


def _bytes() -> bytes:
    """Return no bytes, the data of an empty array."""
    return b''


def _encode(text: Any, encoding: Any) -> bytes:
    """Return the bytes that a pickle of protocol 2 holds as text."""
    if type(text) is not str or encoding != 'latin1':
        raise UnpicklingError(f'Unsupported global: an encoding of {encoding!r}')
    return text.encode('latin1')


_STAND_INS = {
    'builtins.bytes': _bytes,
    'builtins.getattr': _getattr,
    'builtins.slice': slice,
    'mmengine.logging.history_buffer.HistoryBuffer': _History,
    'mmengine.optim.scheduler.param_scheduler.OneCycleParamScheduler': _OneCycle,
    'numpy.dtype': _DType,
    'numpy.ndarray': _Array,
    # Of NumPy 2 and 1.
    'numpy._core.multiarray._reconstruct': _reconstruct,
    'numpy._core.multiarray.scalar': _scalar,
    'numpy.core.multiarray._reconstruct': _reconstruct,
    'numpy.core.multiarray.scalar': _scalar,
}

# What a checkpoint may call. Tensors and storages are missing: they would allocate any size.
_CALLED = (
    *(_bytes, _getattr, _encode, _DType, _reconstruct, _scalar, slice, set, complex),
    *(OrderedDict, Counter, torch.Size, torch.device),
    *(
        getattr(torch._utils, name)
        for name in (
            '_rebuild_tensor',
            '_rebuild_tensor_v2',
            '_rebuild_tensor_v3',
            '_rebuild_parameter',
        )
        if hasattr(torch._utils, name)  # The third is from 2.1 on.
    ),
)


def current_name(module: str, name: str) -> str:
    """Return the full name of a global in a pickle, which may have the module's name in Python 2."""
    module, name = NAME_MAPPING.get((module, name), (module, name))
    return f'{IMPORT_MAPPING.get(module, module)}.{name}'


def is_allowed(name: str) -> bool:
    """Return whether a checkpoint may refer to a global, ``'module.name'``."""
    return name in _STAND_INS or _OF_PYTORCH.fullmatch(name) is not None


def allowed_global(module: str, name: str) -> Any:
    """Return a global that a checkpoint refers to, or its stand-in.

    Raises:
        UnpicklingError: If it is not on the list.
    """
    full = current_name(module, name)
    if not is_allowed(full):
        raise UnpicklingError(f'Unsupported global: {full}')
    if full in _STAND_INS:
        return _STAND_INS[full]
    module, _, name = full.rpartition('.')
    found = getattr(importlib.import_module(module), name, None)
    # The list has patterns, and some functions of PyTorch begin with the name of a type of numbers.
    if found is None or (module == 'torch' and not isinstance(found, (type, torch.dtype))):
        raise UnpicklingError(f'Unsupported global: {full}')
    return _encode if full == '_codecs.encode' else found


def is_callable(function: Any) -> bool:
    """Return whether a checkpoint may call a global of :func:`allowed_global`."""
    return any(function is each for each in _CALLED)


def takes_state(kind: Any) -> bool:
    """Return whether a class is one of the stand-ins that a checkpoint fills with a state."""
    return any(kind is each for each in (_DType, _Array, _History))


@contextmanager
def only_safe_globals() -> Iterator[None]:
    """Allow the stand-ins in ``torch.load(weights_only=True)``, and nothing that others have added."""
    before = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals([(kind, name) for name, kind in _STAND_INS.items()])
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


def with_arrays(content: Any) -> Any:
    """Replace the stand-ins of arrays in a loaded file, in dicts and lists in place."""
    return _with_arrays(content, set())


def _with_arrays(content: Any, seen: set[int]) -> Any:
    if type(content) is _Array:
        return content.value
    if type(content) is _DType:
        return content.dtype
    if type(content) is _History:
        raise UnpicklingError('a history without values')
    if type(content) is tuple:
        return tuple(_with_arrays(value, seen) for value in content)
    if id(content) in seen or not isinstance(content, (dict, list)):
        return content
    seen.add(id(content))
    for key, value in content.items() if isinstance(content, dict) else enumerate(content):
        content[key] = _with_arrays(value, seen)
    return content
