"""The folder in which a teacher's outputs are stored."""

import os
import shutil
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmmuse.checkpoints.regular_file import check_regular_file
from mmmuse.checkpoints.synced_write import sync_folder, write_synced
from mmmuse.errors import InputError

from .cache_index import INDEX, CacheIndex

_LABELS = 'labels'  # Of all images, beside the shards.


class CacheFolder:
    """A complete cache; its outputs are mapped into memory and read where they are asked for.

    Args:
        path: The folder.
        name: What it is, for messages.

    Raises:
        InputError: If it is no cache, is not complete, or a file of it is not what the index says.

    Attributes:
        index: What it holds.
        labels: Of the M images, ``(M, )`` int64.
    """

    def __init__(self, path: str | Path, name: str = 'teacher_cache') -> None:
        self.path = Path(path)
        self._name = name
        self.index = CacheIndex.of_folder(self.path, name)
        self.labels = torch.from_numpy(np.array(self._map(_LABELS, (self.index.images,), 'int64')))
        self._shards = [
            {
                feature: self._map(
                    f'{shard_name(i)}/{feature}', (len(rows), *shape), self.index.types[feature]
                )
                for feature, shape in self.index.shapes.items()
            }
            for i, rows in enumerate(self.index.shards)
        ]

    def _map(self, file: str, shape: tuple[int, ...], kind: str) -> np.ndarray:
        path = self.path / f'{file}.npy'
        if not path.exists():
            raise InputError(
                f'{self._name} {self.path} is not complete: run the same mmmuse cache-teacher again'
            )
        check_regular_file(path, f'file of {self._name}')
        try:
            content = np.lib.format.open_memmap(path, mode='r')
            found = content.shape, str(content.dtype)
        except (ValueError, OSError, EOFError, AttributeError, SyntaxError, OverflowError) as error:
            raise InputError(f'{self._name}: {path} is damaged; write the cache again') from error
        if found != (shape, kind):
            raise InputError(
                f'{self._name}: {path} is damaged: {kind} {shape} is expected, and it has {found[1]} '
                f'{found[0]}; write the cache again'
            )
        return content

    def rows(self, feature: str, view: Tensor, image: Tensor) -> Tensor:
        """Return stored outputs, ``(N, ...)`` float32.

        Args:
            feature: Its name in the index.
            view: Of each, ``(N, )``.
            image: Index of each image, ``(N, )``.

        Raises:
            InputError: If there is no such view or image.
        """
        index = self.index
        if int(image.max()) >= index.images or int(view.max()) >= index.views['fixed_views']:
            raise InputError(
                f'{self._name} {self.path} has {index.views["fixed_views"]} views of {index.images} images, '
                f'not view {int(view.max())} of image {int(image.max())}'
            )
        place = (view * index.images + image).numpy()
        shard, row = place // index.rows, place % index.rows
        out = np.empty((len(place), *index.shapes[feature]), np.float32)
        for number in np.unique(shard):
            here = shard == number
            out[here] = self._shards[number][feature][row[here]]
        return torch.from_numpy(out)


class CacheWriter:
    """Writes a cache shard by shard; a shard appears when it is whole, so that a later start goes on.

    Args:
        path: The folder.
        index: What it will hold.
        labels: Of the M images, ``(M, )``.

    Raises:
        InputError: If the folder holds something else, or cannot be written.
    """

    def __init__(self, path: str | Path, index: CacheIndex, labels: np.ndarray) -> None:
        self.path, self.index = Path(path), index
        if (self.path / INDEX).exists():
            if CacheIndex.of_folder(self.path, '--out').to_json() != index.to_json():
                raise InputError(
                    f'{self.path} holds a cache of another teacher, other data or other settings; '
                    'delete it or name another folder'
                )
        elif self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise InputError(f'{self.path} already exists; delete it or name another folder')
        else:
            write_synced(self.path / INDEX, index.to_json().encode())
        if not (self.path / f'{_LABELS}.npy').is_file():
            content = BytesIO()
            np.save(content, labels, allow_pickle=False)
            write_synced(self.path / f'{_LABELS}.npy', content.getvalue())

    def missing(self) -> Iterator[tuple[int, range]]:
        """Yield the number and the outputs of each shard that is not there, or lacks a file."""
        for number, rows in enumerate(self.index.shards):
            folder = self.path / shard_name(number)
            if not all((folder / f'{name}.npy').is_file() for name in self.index.shapes):
                yield number, rows

    def write(self, number: int, outputs: Mapping[str, np.ndarray]) -> None:
        """Write a shard.

        Raises:
            InputError: If an output is not finite in the type in which it is stored.
        """
        folder = self.path / shard_name(number)
        part = folder.with_name(f'{folder.name}.part')
        part.mkdir(exist_ok=True)
        for name, value in outputs.items():
            if not np.isfinite(value).all():
                kind = self.index.types[name]
                hint = ': delete the folder and pass --type float32' if kind == 'float16' else ''
                raise InputError(f'an output of the teacher, {name}, is not finite in {kind}{hint}')
            self._save(part / f'{name}.npy', value)
        sync_folder(part)
        if folder.exists():
            shutil.rmtree(folder)  # It lacks a file.
        os.replace(part, folder)
        sync_folder(self.path)

    def _save(self, path: Path, value: np.ndarray) -> None:
        with path.open('wb') as file:
            np.save(file, value, allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())


def shard_name(number: int) -> str:
    """Return the folder of a shard."""
    return f'shard-{number:05d}'
