from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from mmmuse.errors import InputError
from mmmuse.tapping.features import DistillFeatures, FeatureSpec, NetworkSpecs

from .cache_folder import CacheFolder
from .cache_index import data_digest
from .teacher_provenance import Provenance, check_provenance

VIEW_SETTINGS = ('fixed_views', 'seed', 'crop_padding', 'flip_prob', 'resize', 'to_rgb')


def check_kind_for_cache(kind: str) -> None:
    """Check that a teacher's outputs are stored for networks of this kind.

    Args:
        kind: ``'classifier'``, ``'detector'`` or ``'segmenter'``.

    Raises:
        InputError: If the network predicts boxes or masks.
    """
    if kind != 'classifier':
        raise InputError(
            f'a teacher cache is of classifiers and backbones, and the student is a {kind}: train '
            'with the teacher itself, without teacher_cache'
        )


class TeacherCache:
    """A teacher's stored outputs for fixed views, used instead of the teacher; not an ``nn.Module``.

    Args:
        path: Folder written by ``mmmuse cache-teacher``.
        preprocessor: The student's data preprocessor, a
            ``mmmuse.BatchedDataPreprocessor`` with the same fixed views.
        teacher: What the config says about the teacher; see
            :func:`mmmuse.distillers.teacher_provenance.given_provenance`. Nothing by default.

    Raises:
        InputError: If it is missing, not complete or not a cache, its views differ, or it is of
            another teacher or does not say of which.

    Attributes:
        specs: Shapes of the teacher's features, stored or not.
    """

    needs_labels = True

    def __init__(
        self, path: str, preprocessor: nn.Module, teacher: Provenance | None = None
    ) -> None:
        self._folder = CacheFolder(path)
        index = self._folder.index
        check_provenance(path, index.teacher, teacher or {}, preprocessor)
        differ = [
            f'{name} is {getattr(preprocessor, name, None)!r} and was {index.views.get(name)!r}'
            for name in VIEW_SETTINGS
            if getattr(preprocessor, name, None) != index.views.get(name)
        ]
        if differ:
            raise InputError(
                f'teacher_cache {path} is of other views: data_preprocessor.{"; ".join(differ)}'
            )
        if getattr(preprocessor, 'batch_augments', None) is not None:
            raise InputError(
                f'teacher_cache {path} holds single images, and batch_augments mixes them'
            )
        self.path = path
        logits = index.shapes.get('logits')
        self.specs = NetworkSpecs(
            index.modules[:-1],
            index.modules[-1] if index.modules else None,
            FeatureSpec(logits[0]) if logits else None,
            taps='teacher_taps',
            kind=index.kind,
        )
        self._compared = False
        self._read = list(index.shapes)  # Until check_holds has named what is needed.

    def check_holds(self, features: Iterable[str]) -> None:
        """Check that features are stored, and read only these; named as in :attr:`DistillLoss.source_features`.

        Raises:
            InputError: Naming those that are not.
        """
        held, needed = set(self._folder.index.shapes), set(features)
        last = f'module{len(self.specs.modules)}'
        if 'vector' in needed - held and last in held:  # It is the mean of the last map.
            needed = needed - {'vector'} | {last}
        missing = sorted(needed - held)
        if missing:
            raise InputError(
                f'teacher_cache {self.path} holds {", ".join(sorted(held))}, and the losses '
                f'read {", ".join(missing)} too: write it again with mmmuse cache-teacher and this config'
            )
        self._read = sorted(needed)

    def prepare(self, labels: Tensor) -> None:
        """Compare the training set's labels ``(M, )`` with those of the cache.

        Raises:
            InputError: If they differ.
        """
        if not torch.equal(labels.cpu().long(), self._folder.labels):
            raise InputError(
                f'teacher_cache {self.path} is of another training set: of '
                f'{self._folder.index.images} images, not these {len(labels)}'
            )
        self._compared = True

    def check_data_set(self, dataset: object) -> None:
        """Compare the images of a training set with those of the cache, where they are one array.

        Raises:
            InputError: If they differ.
        """
        if data_digest(dataset) != self._folder.index.data:
            raise InputError(
                f'teacher_cache {self.path} is of another training set: the labels are the same and the images '
                'differ from those of train_dataloader.dataset: write it again with mmmuse cache-teacher'
            )

    def __call__(self, inputs: Tensor, data_samples: list) -> DistillFeatures:
        """Return the teacher's features of these N images; what is not stored is empty.

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
        outputs = {
            name: self._folder.rows(name, view, image).to(inputs.device) for name in self._read
        }
        modules = [
            outputs.get(f'module{i}', inputs.new_empty(0))
            for i in range(1, len(self.specs.modules) + 1)
        ]
        last = modules[-1] if modules and modules[-1].numel() else outputs.get('vector')
        return DistillFeatures(tuple(modules[:-1]), last, outputs.get('logits'))

    def __deepcopy__(self, memo: dict) -> 'TeacherCache':
        return self  # It never changes; an EMA's copy of the distiller reads the same folder.

    def convert(self, fn: Callable[[Tensor], Tensor]) -> None:
        """Do nothing: outputs are moved to the device of each batch."""
