from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmmuse.checkpoints.files import load_file
from mmmuse.errors import InputError
from mmmuse.tapping.features import DistillFeatures, FeatureSpec, NetworkSpecs

from .teacher_provenance import Provenance, check_provenance

VIEW_SETTINGS = ('fixed_views', 'seed', 'crop_padding', 'flip_prob', 'resize', 'to_rgb')


def check_kind_for_cache(kind: str) -> None:
    """Check that a teacher cache holds what a network of this kind learns from.

    Args:
        kind: ``'classifier'``, ``'detector'`` or ``'segmenter'``.

    Raises:
        InputError: If the network predicts boxes or masks.
    """
    if kind != 'classifier':
        raise InputError(
            f'a teacher cache has one vector of logits for each image, and the student is a {kind}: train '
            'with the teacher itself, without teacher_cache'
        )


class TeacherCache:
    """A teacher's stored outputs for fixed views, used instead of the teacher; not an ``nn.Module``.

    Args:
        path: Written by ``mmmuse cache-teacher``.
        preprocessor: The student's data preprocessor, a
            ``mmmuse.BatchedDataPreprocessor`` with the same fixed views.
        teacher: What the config says about the teacher; see
            :func:`mmmuse.distillers.teacher_provenance.given_provenance`. Nothing by default.

    Raises:
        InputError: If the file is missing or not a cache, its views differ, or it is of another
            teacher or does not say of which.

    Attributes:
        specs: Shapes of its outputs: logits and the last feature as a vector.
    """

    needs_labels = True

    def __init__(
        self, path: str, preprocessor: nn.Module, teacher: Provenance | None = None
    ) -> None:
        if not Path(path).is_file():
            raise InputError(f'no teacher_cache {path}: mmmuse cache-teacher writes it')
        self.logits, self.vectors, self.labels, views, of = _read(path)
        check_provenance(path, of, teacher or {}, preprocessor)
        differ = [
            f'{name} is {getattr(preprocessor, name, None)!r} and was {views[name]!r}'
            for name in VIEW_SETTINGS
            if getattr(preprocessor, name, None) != views[name]
        ]
        if differ:
            raise InputError(
                f'teacher_cache {path} is of other views: data_preprocessor.{"; ".join(differ)}'
            )
        if getattr(preprocessor, 'batch_augments', None) is not None:
            raise InputError(
                f'teacher_cache {path} holds single images, and batch_augments mixes them'
            )
        if len(self.logits) != views['fixed_views']:
            raise InputError(
                f'teacher_cache {path} has {len(self.logits)} views and says that it has '
                f'{views["fixed_views"]}; write it again'
            )
        self.path = path
        self.specs = NetworkSpecs(
            last=FeatureSpec(self.vectors.shape[2]),
            logits=FeatureSpec(self.logits.shape[2]),
            taps='teacher_taps',
        )
        self._compared = False

    def prepare(self, labels: Tensor) -> None:
        """Compare the training set's labels ``(M, )`` with those of the cache.

        Raises:
            InputError: If they differ.
        """
        if not torch.equal(labels.cpu().long(), self.labels):
            raise InputError(
                f'teacher_cache {self.path} is of another training set: of '
                f'{len(self.labels)} images, not these {len(labels)}'
            )
        self._compared = True

    def __call__(self, inputs: Tensor, data_samples: list) -> DistillFeatures:
        """Return the teacher's features of these N images.

        Raises:
            InputError: If a data sample has no index of its image and view, or the training set
                has not been compared.
        """
        if not self._compared:
            raise InputError(
                'teacher_cache has not been compared with the training set: mmmuse train does '
                'it, elsewhere call distiller.prepare(labels)'
            )
        places = [(sample.get('view'), sample.get('sample_idx')) for sample in data_samples]
        if any(None in place for place in places):
            raise InputError(
                'teacher_cache needs data samples with the index of their view, as from '
                'mmmuse.BatchedDataPreprocessor(fixed_views=...)'
            )
        view, image = torch.tensor(places).T
        return DistillFeatures(
            (),
            self.vectors[view, image].to(inputs.device, torch.float32),
            self.logits[view, image].to(inputs.device, torch.float32),
        )

    def __deepcopy__(self, memo: dict) -> 'TeacherCache':
        return self  # It never changes; an EMA's copy of the distiller reads the same file.

    def convert(self, fn: Callable[[Tensor], Tensor]) -> None:
        """Do nothing: outputs are moved to the device of each batch."""


def _read(path: str) -> tuple[Tensor, Tensor, Tensor, dict, Any]:
    """Return logits, vectors and labels of a cache, the settings of its views, and its teacher.

    Raises:
        InputError: If the file is not a cache, or its tensors do not fit together.
    """
    try:
        content = load_file(path, mmap=True)
        tensors = [content[key] for key in ('logits', 'vectors', 'labels')]
        views = {name: content['views'][name] for name in VIEW_SETTINGS}
        teacher = content.get('teacher')
        logits, vectors, labels = tensors
        shapes = [tuple(tensor.shape) for tensor in tensors]
    except (InputError, LookupError, TypeError, AttributeError) as error:
        raise InputError(f'teacher_cache {path} is damaged or not a teacher cache') from error
    if (
        [len(shape) for shape in shapes] != [3, 3, 1]
        or shapes[0][:2] != shapes[1][:2]
        or shapes[0][1:2] != shapes[2]
        or 0 in (*shapes[0], *shapes[1])
        or not all(tensor.is_floating_point() for tensor in (logits, vectors))
        or labels.dtype != torch.int64
    ):
        found = ', '.join(
            f'{tensor.dtype} {shape}' for tensor, shape in zip(tensors, shapes, strict=True)
        )
        raise InputError(
            f'teacher_cache {path} is damaged: its logits (V, M, K), vectors (V, M, C) and int64 '
            f'labels (M, ) are {found}; write it again'
        )
    return logits, vectors, labels, views, teacher
