"""Hostile and damaged files, one function each: it writes the file and names a marker that code would create."""

import gzip
import io
import os
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.logging import HistoryBuffer


class Call:
    """Is pickled as a call of a function."""

    def __init__(self, function: Callable, *args: Any, state: Any = None) -> None:
        self.call = (function, args) if state is None else (function, args, state)

    def __reduce__(self) -> tuple:
        return self.call


def _program(marker: Path) -> str:
    return f'from pathlib import Path\nPath({str(marker)!r}).touch()\n'


def _touch(marker: Path) -> Call:
    return Call(exec, _program(marker))


def _zipped(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def _weights(**others: Any) -> dict:
    return dict(state_dict={'w': torch.zeros(4)}, meta=dict(epoch=1, iter=1), **others)


def _getattr(marker: Path) -> bytes:
    """Reach ``builtins.exec`` from an allowed class, by ``getattr`` alone."""
    names = ['__init__', '__globals__']
    step: Any = HistoryBuffer
    for name in names:
        step = Call(getattr, step, name)
    return _zipped(_weights(asked=step))


def _typed(*state: Any) -> Call:
    return Call(np.dtype, 'f8', False, True, state=(3, '<', *state))


def _image(width: int, height: int) -> bytes:
    """A PNG's header of this size, with hardly any data."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))
        )

    header = chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0))
    data = chunk(b'IDAT', zlib.compress(b'\0' * 1000))
    return b'\x89PNG\r\n\x1a\n' + header + data + chunk(b'IEND', b'')


def _tar(marker: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w') as archive:
        for name in ('sys_info', 'pickle', 'tensors', 'storages'):
            content = pickle.dumps(_touch(marker), protocol=2)
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


@cache
def _deflated() -> bytes:
    """200 MB of zeros in 200 kB."""
    buffer = io.BytesIO()
    plain = zipfile.ZipFile(io.BytesIO(_zipped(_weights())))
    with zipfile.ZipFile(buffer, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name in plain.namelist():
            content = bytes(200_000_000) if name.endswith('data/0') else plain.read(name)
            archive.writestr(name, content)
    return buffer.getvalue()


def _old_format(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


class Crafted(NamedTuple):
    """A kind of file.

    Attributes:
        content: Returns its bytes, for the path of a marker that its code creates.
        runs_code: Whether it has code.
    """

    content: Callable[[Path], bytes]
    runs_code: bool = False


CONTENTS: dict[str, Crafted] = {
    'a call in a checkpoint': Crafted(lambda m: _zipped(_weights(asked=_touch(m))), True),
    'a call as the checkpoint': Crafted(lambda m: _zipped(_touch(m)), True),
    'a call in an old checkpoint': Crafted(lambda m: _old_format(_weights(a=_touch(m))), True),
    'a call in a pickle': Crafted(lambda m: pickle.dumps(_touch(m)), True),
    'a call in a tar file': Crafted(_tar, True),
    'a call in YAML': Crafted(
        lambda m: f'a: !!python/object/apply:os.mkdir ["{m}"]\n'.encode(), True
    ),
    'getattr in a checkpoint': Crafted(_getattr, True),
    'an array of objects': Crafted(lambda m: _zipped(_weights(a=np.array([_touch(m)])))),
    'a type whose bytes are pointers': Crafted(
        lambda m: _zipped(_weights(a=_typed((np.dtype('O'), (1,)), None, None, -1, -1, 0)))
    ),
    'a record whose bytes are pointers': Crafted(
        lambda m: _zipped(_weights(a=_typed(None, ('a',), {'a': (np.dtype('O'), 0)}, 8, 8, 0)))
    ),
    'a terabyte of zeros by a call': Crafted(
        lambda m: _zipped(_weights(a=Call(bytearray, 10**12)))
    ),
    'tensors without data': Crafted(
        lambda m: _zipped(dict(state_dict={'w': torch.zeros(4, device='meta')}))
    ),
    'sparse tensors': Crafted(lambda m: _zipped(dict(state_dict={'w': torch.ones(4).to_sparse()}))),
    'a deflated checkpoint': Crafted(lambda m: _deflated()),
    'a truncated checkpoint': Crafted(lambda m: _zipped(_weights())[:600]),
    'a checkpoint without weights': Crafted(lambda m: _zipped(dict(state_dict={}))),
    'a list': Crafted(lambda m: _zipped([1, 2])),
    'nothing': Crafted(lambda m: b''),
    'text': Crafted(lambda m: b'this is text\nof two lines\n'),
    'text that is not UTF-8': Crafted(lambda m: b'caf\xe9\n\xff\xfe\n'),
    'zeros': Crafted(lambda m: b'\0' * 5000),
    'deep JSON': Crafted(lambda m: b'[' * 100_000 + b'\n' + b'{}\n'),
    'JSON of another kind': Crafted(lambda m: b'[1, 2]\n[3]\n'),
    'gzip': Crafted(lambda m: gzip.compress(b'\0' * 100_000)),
    'an image of 30000x30000': Crafted(lambda m: _image(30000, 30000)),
    'an image without data': Crafted(lambda m: _image(64, 64)[:40]),
}
PLACES: dict[str, Callable[[Path], None]] = {
    'a FIFO': os.mkfifo,
    'a device': lambda path: path.symlink_to('/dev/zero'),
    'a folder': Path.mkdir,
    'a loop of links': lambda path: path.symlink_to(path),
    'no file': lambda path: None,
}
KINDS = [*CONTENTS, *PLACES]


def write_crafted(kind: str, path: Path, marker: Path) -> None:
    """Write a file of a kind; it replaces one that exists."""
    if path.is_symlink() or path.exists():
        path.unlink()
    if kind in PLACES:
        PLACES[kind](path)
    else:
        path.write_bytes(CONTENTS[kind].content(marker))
