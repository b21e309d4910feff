"""What the folder of a teacher's stored outputs holds."""

import hashlib
import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mmmuse.checkpoints.regular_file import check_regular_file
from mmmuse.errors import InputError
from mmmuse.tapping.features import FeatureSpec

INDEX = 'index.json'
TYPES = ('float16', 'float32')
_FORMAT = 2  # Of the folder; the first was a single file.
_SHARD_BYTES = 256 * 2**20
_MAX_INDEX_BYTES = 2**20


@dataclass(frozen=True)
class CacheIndex:
    """What a cache holds: V views of M images.

    Attributes:
        images: M.
        views: Settings of the views, with their number ``fixed_views``.
        teacher: Whose outputs they are; see :func:`mmmuse.distillers.teacher_provenance.full_provenance`.
        shapes: Of one image's outputs by name: ``'logits'``, ``'vector'`` (the pooled last feature),
            ``'module3'`` and so on.
        types: ``'float16'`` or ``'float32'`` of each.
        modules: Specs of modules 1 to T of the teacher, stored or not.
        kind: What the logits mean.
        data: Digest of the M images, where they are in memory, and of their labels.
        rows: Outputs in a shard. Output ``view * M + image`` is in shard ``(view * M + image) // rows``.
    """

    images: int
    views: dict[str, Any]
    teacher: dict[str, str]
    shapes: dict[str, tuple[int, ...]]
    types: dict[str, str]
    modules: tuple[FeatureSpec, ...] = ()
    kind: str = 'classes'
    data: str = ''
    rows: int = 0

    def __post_init__(self) -> None:
        if not self.rows:
            object.__setattr__(self, 'rows', max(1, _SHARD_BYTES // self.bytes_of_a_row))

    @property
    def bytes_of_a_row(self) -> int:
        """Bytes of one image's outputs."""
        return sum(
            math.prod(shape) * np.dtype(self.types[name]).itemsize
            for name, shape in self.shapes.items()
        )

    @property
    def total(self) -> int:
        """V * M, the number of outputs."""
        return self.views['fixed_views'] * self.images

    @property
    def num_bytes(self) -> int:
        """Bytes of all outputs."""
        return self.total * self.bytes_of_a_row

    @property
    def shards(self) -> list[range]:
        """The outputs in each shard."""
        return [
            range(first, min(first + self.rows, self.total))
            for first in range(0, self.total, self.rows)
        ]

    def to_json(self) -> str:
        """Return the text of ``index.json``."""
        content = {**asdict(self), 'format': _FORMAT}
        return json.dumps(content, indent=1, sort_keys=True)

    @classmethod
    def of_folder(cls, folder: Path, name: str) -> 'CacheIndex':
        """Read a folder's ``index.json``.

        Args:
            folder: Of the cache.
            name: What it is, for messages.

        Raises:
            InputError: If it is missing, or no index of a cache.
        """
        path = folder / INDEX
        if folder.is_file():
            raise InputError(
                f'{name} {folder} is a file, and a cache is a folder: mmmuse cache-teacher writes it'
            )
        if not path.exists():
            raise InputError(f'{name} {folder} has no {INDEX}: mmmuse cache-teacher writes a cache')
        check_regular_file(path, f'file of {name}')
        try:
            with path.open('rb') as file:
                content = json.loads(file.read(_MAX_INDEX_BYTES))
            if content.pop('format') != _FORMAT:
                raise ValueError('another format')
            index = cls(**content)._checked()
        except (
            *(ValueError, TypeError, LookupError, AttributeError),
            *(ArithmeticError, RecursionError),
        ) as error:
            raise InputError(
                f'{name} {folder}: {INDEX} is damaged or of another version'
            ) from error
        except OSError as error:
            raise InputError(f'{name} {folder}: cannot read {INDEX}: {error.strerror}') from error
        return index

    def _checked(self) -> 'CacheIndex':
        """Return the index with its values in their types, or raise a ``ValueError``."""
        shapes = {str(name): tuple(shape) for name, shape in self.shapes.items()}
        sizes = [self.images, self.rows, self.views['fixed_views'], *sum(shapes.values(), ())]
        if not all(type(size) is int and 0 < size < 2**40 for size in sizes) or not shapes:
            raise ValueError('sizes')
        if shapes.keys() != self.types.keys() or not set(self.types.values()) <= set(TYPES):
            raise ValueError('types')
        if not all(name.isidentifier() for name in shapes) or not isinstance(self.kind, str):
            raise ValueError('names')
        modules = tuple(
            FeatureSpec(
                int(spec['channels']),
                None if spec['grid'] is None else tuple(map(int, spec['grid'])),
                int(spec['num_prefix_tokens']),
                str(spec['path']),
            )
            for spec in self.modules
        )
        return replace(
            self,
            views=dict(self.views),
            teacher=dict(self.teacher),
            shapes=shapes,
            modules=modules,
            data=str(self.data),
        )


def data_digest(dataset: object) -> str:
    """Return the SHA-256 of a data set's labels, and of its images where they are one array."""
    digest = hashlib.sha256(np.asarray(dataset.get_gt_labels(), np.int64).tobytes())
    images = getattr(dataset, 'images', None)
    if isinstance(images, np.ndarray):
        digest.update(np.ascontiguousarray(images))
    return digest.hexdigest()
