"""A pickle module for ``torch.load`` that builds only what our list of globals allows.

It is for versions of PyTorch whose ``weights_only`` cannot be given this list. Its unpickler is Python's
own; the opcodes that call, build or import something are replaced.
"""

import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, ClassVar

from .safe_globals import allowed_global, is_callable, takes_state


class Unpickler(pickle._Unpickler):
    """Python's unpickler, restricted to :mod:`mmmuse.checkpoints.safe_globals`.

    A subclass of PyTorch's, made during a load, sets ``persistent_load`` and turns the classes of storages
    into types of numbers.

    Attributes:
        storage_sizes: Bytes of each storage of the file by its key; None where PyTorch checks them.
    """

    storage_sizes: ClassVar[dict[str, int] | None] = None
    dispatch: ClassVar[dict[int, Callable]] = dict(pickle._Unpickler.dispatch)

    def find_class(self, module: str, name: str) -> Any:
        return allowed_global(module, name)

    def load_reduce(self) -> None:
        arguments = self.stack.pop()
        function = self.stack[-1]
        if not is_callable(function) or type(arguments) is not tuple:
            raise pickle.UnpicklingError(f'Unsupported global: a call of {function!r}')
        self.stack[-1] = function(*arguments)

    def load_newobj(self) -> None:
        arguments = self.stack.pop()
        kind = self.stack[-1]
        if not takes_state(kind) or arguments != ():
            raise pickle.UnpicklingError(f'Unsupported class: {kind!r}')
        self.stack[-1] = kind.__new__(kind)

    def load_build(self) -> None:
        state = self.stack.pop()
        built = self.stack[-1]
        if takes_state(type(built)):
            built.__setstate__(state)
        elif type(built) is OrderedDict and type(state) is dict and state.keys() <= {'_metadata'}:
            built.__dict__.update(state)
        else:
            raise pickle.UnpicklingError(
                f'Unsupported class: the state of a {type(built).__name__}'
            )

    def load_binpersid(self) -> None:
        storage = self.stack.pop()
        if type(storage) is not tuple or storage[:1] not in (('storage',), (b'storage',)):
            raise pickle.UnpicklingError('Unsupported class: an object outside of the pickle')
        loaded = self.persistent_load(storage)
        sizes, key = self.storage_sizes, storage[2]
        if sizes is not None and loaded.nbytes() != sizes.get(key):
            raise pickle.UnpicklingError(f'storage {key} has {sizes.get(key)} bytes')
        self.append(loaded)

    def refuse(self) -> None:
        """Stand in for opcodes that no checkpoint has."""
        raise pickle.UnpicklingError('Unsupported class: an opcode that PyTorch does not write')

    dispatch[pickle.REDUCE[0]] = load_reduce
    dispatch[pickle.NEWOBJ[0]] = load_newobj
    dispatch[pickle.BUILD[0]] = load_build
    dispatch[pickle.BINPERSID[0]] = load_binpersid
    for opcode in (
        *(pickle.INST, pickle.OBJ, pickle.NEWOBJ_EX, pickle.EXT1, pickle.EXT2, pickle.EXT4),
        *(pickle.PERSID, pickle.BYTEARRAY8, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER),
    ):
        dispatch[opcode[0]] = refuse
    del opcode


def load(file: Any, **options: Any) -> Any:
    """Read one pickle, as :func:`pickle.load`."""
    return Unpickler(file, **options).load()
