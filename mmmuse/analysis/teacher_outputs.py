"""A teacher's outputs for fixed views of a training set, for ``teacher_cache``."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmmuse.distillers import FeatureDistiller, OfflineDistiller
from mmmuse.distillers.cache_folder import CacheWriter
from mmmuse.distillers.cache_index import CacheIndex, data_digest
from mmmuse.distillers.library_teacher import is_library
from mmmuse.distillers.teacher import Teacher
from mmmuse.distillers.teacher_cache import VIEW_SETTINGS, check_kind_for_cache
from mmmuse.distillers.teacher_provenance import full_provenance
from mmmuse.errors import InputError
from mmmuse.export.trained import trained_kind
from mmmuse.registry import MODELS
from mmmuse.tapping.features import DistillFeatures, NetworkSpecs


def build_offline(config: Config, num_views: int, seed: int) -> OfflineDistiller:
    """Build an offline distiller whose data preprocessor makes fixed views.

    Raises:
        InputError: If the config's model is not an ``mmmuse.OfflineDistiller``, its student is a detector or a
            segmenter, its losses read no feature that can be stored, or its data has no fixed views.
    """
    init_default_scope(config.get('default_scope') or 'mmpretrain')
    model = dict(config.model)
    kind = MODELS.get(str(model.get('type')))
    if not (isinstance(kind, type) and issubclass(kind, OfflineDistiller)):
        raise InputError(f'the model is a {model.get("type")}, not an mmmuse.OfflineDistiller')
    if not issubclass(kind, FeatureDistiller):
        check_kind_for_cache(trained_kind(config))
    student = model['student'] if isinstance(model['student'], Mapping) else {}
    preprocessor = dict(
        config.get('data_preprocessor')
        or model.get('data_preprocessor')
        or student.get('data_preprocessor')
        or {}
    )
    if preprocessor.get('type') != 'mmmuse.BatchedDataPreprocessor':
        raise InputError(
            'fixed views come from mmmuse.BatchedDataPreprocessor, and the config has '
            f'{preprocessor.get("type")}'
        )
    if preprocessor.get('batch_augments'):
        raise InputError('a cache has the outputs of single images, and batch_augments mixes them')
    preprocessor.update(fixed_views=num_views, seed=seed, num_views=1)
    if issubclass(kind, FeatureDistiller):
        model['data_preprocessor'] = preprocessor
    else:
        model['student'] = {**model['student'], 'data_preprocessor': preprocessor}
    model['teacher_cache'] = None
    distiller = MODELS.build(model)
    if not isinstance(distiller.teacher, Teacher):
        raise InputError('a cache holds the outputs of one teacher, and teacher is a list')
    if not distiller.losses.source_features:
        raise InputError(
            'the losses read neither logits nor features of the teacher: there is nothing to store'
        )
    return distiller.eval()


def loader_of(config: Config) -> DataLoader:
    """Return the loader of a config's training set, in the order of its images.

    Raises:
        InputError: If the data set does not give its labels (``get_gt_labels``), or is not batched.
    """
    loader = dict(config.train_dataloader, sampler=dict(type='DefaultSampler', shuffle=False))
    loader = Runner.build_dataloader({**loader, 'drop_last': False})
    if not hasattr(loader.dataset, 'get_gt_labels'):
        raise InputError(
            f'a cache is of labelled images, and {type(loader.dataset).__name__} has no get_gt_labels(); '
            'use a data set without wrappers'
        )
    if not hasattr(loader.dataset, '__getitems__'):
        raise InputError(
            'mmmuse cache-teacher needs a data set of batched images, such as mmmuse.BatchedCIFAR100, got '
            f'{type(loader.dataset).__name__}'
        )
    return loader


@torch.no_grad()
def cache_index(
    config: Config,
    distiller: OfflineDistiller,
    loader: DataLoader,
    kind: str = 'auto',
    more: Iterable[str] = (),
) -> CacheIndex:
    """Return what a cache of the features that the losses read will hold.

    Args:
        config: Of the run.
        distiller: From :func:`build_offline`.
        loader: From :func:`loader_of`.
        kind: ``'float16'`` or ``'float32'``; ``'auto'`` is float16 for maps and tokens, float32 for
            logits and vectors.
        more: Names of features that are stored too.

    Raises:
        InputError: If the teacher has no such feature.
    """
    teacher, preprocessor = distiller.teacher, distiller.data_preprocessor
    names = {*distiller.losses.source_features, *more}
    _check_has(teacher.specs, names)
    if f'module{len(teacher.specs.modules)}' in names:
        names.discard('vector')  # It is the mean of the last map.
    batch = loader.collate_fn(loader.dataset.__getitems__([0]))
    outputs = _outputs(teacher(preprocessor(batch, training=False)['inputs']), sorted(names))
    shapes = {name: tuple(value.shape[1:]) for name, value in outputs.items()}
    types = {
        name: ('float16' if len(shape) > 1 else 'float32') if kind == 'auto' else kind
        for name, shape in shapes.items()
    }
    model = config.model
    return CacheIndex(
        len(loader.dataset),
        {name: getattr(preprocessor, name) for name in VIEW_SETTINGS},
        full_provenance(
            teacher,
            model.teacher,
            model.get('teacher_checkpoint'),
            _configured_taps(model),
            preprocessor,
        ),
        shapes,
        types,
        teacher.specs.modules,
        teacher.specs.kind,
        data_digest(loader.dataset),
    )


def _configured_taps(model: Mapping) -> object:
    """Return a teacher's taps as a run reads them; see :class:`mmmuse.distillers.OfflineDistiller`."""
    if model.get('teacher_taps') is not None or is_library(model['teacher']):
        return model.get('teacher_taps')
    features = issubclass(MODELS.get(str(model['type'])), FeatureDistiller)
    return 'last' if features else model.get('taps', 'auto')


def _check_has(specs: NetworkSpecs, names: set[str]) -> None:
    known = [f'module{i}' for i in range(1, len(specs.modules) + 1)]
    known += ['vector'] * (specs.last is not None) + ['logits'] * (specs.logits is not None)
    unknown = sorted(names - set(known))
    if unknown:
        raise InputError(f'the teacher has no {", ".join(unknown)}; available: {", ".join(known)}')


def check_space(index: CacheIndex, out: Path) -> None:
    """Check that a cache fits onto its disk.

    Raises:
        InputError: With both sizes.
    """
    place = next(folder for folder in (out, *out.absolute().parents) if folder.is_dir())
    written = sum(file.stat().st_size for file in out.glob('*/*.npy')) if out.is_dir() else 0
    free = shutil.disk_usage(place).free
    if index.num_bytes - written > free:
        raise InputError(
            f'the cache needs {size_text(index.num_bytes - written)}, and {place} has {size_text(free)} '
            'left: fewer --views, --type float16, or another --out'
        )


def described(index: CacheIndex) -> str:
    """Return what a cache holds, and its size, for the user."""
    parts = [
        f'{name} {" x ".join(map(str, shape))} {index.types[name]}'
        for name, shape in sorted(index.shapes.items())
    ]
    return (
        f'{index.views["fixed_views"]} views of {index.images} images, {size_text(index.num_bytes)}: '
        + ', '.join(parts)
    )


def size_text(num_bytes: int) -> str:
    """Return a number of bytes in a unit of three digits."""
    size, units = float(num_bytes), ['bytes', 'KiB', 'MiB', 'GiB', 'TiB']
    while size >= 1000 and len(units) > 1:
        size, units = size / 1024, units[1:]
    return f'{size:.3g} {units[0]}'


@torch.no_grad()
def cache_teacher(
    distiller: OfflineDistiller,
    loader: DataLoader,
    index: CacheIndex,
    out: Path,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Run the teacher on every image in every view that is not stored yet, and store what it gives.

    Args:
        distiller: From :func:`build_offline`.
        loader: From :func:`loader_of`.
        index: From :func:`cache_index`.
        out: Folder of the cache; see :class:`mmmuse.distillers.cache_folder.CacheFolder`.
        report: Called with the number of stored outputs and their total.

    Raises:
        InputError: If the folder holds something else, cannot be written, or an output is not finite.
    """
    teacher, preprocessor = distiller.teacher, distiller.data_preprocessor
    assert isinstance(teacher, Teacher)
    writer = CacheWriter(out, index, np.asarray(loader.dataset.get_gt_labels(), np.int64))
    missing = list(writer.missing())
    done = index.total - sum(len(rows) for _, rows in missing)
    batches = [
        (number, view, images)
        for number, rows in missing
        for view, images in _batches(rows, index.images, loader.batch_size or 1)
    ]
    data = DataLoader(
        loader.dataset,
        batch_sampler=[images for _, _, images in batches],
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        persistent_workers=False,
    )
    shard: dict[str, list[np.ndarray]] = {name: [] for name in index.shapes}
    for place, ((number, view, images), batch) in enumerate(zip(batches, data, strict=True)):
        with _epoch_of(view, index.views['fixed_views']):
            inputs = preprocessor(batch, training=True)['inputs']
        features = teacher(inputs)
        for name, value in _outputs(features, list(index.shapes)).items():
            shard[name].append(value.cpu().numpy().astype(index.types[name]))
        done += len(images)
        if place + 1 == len(batches) or batches[place + 1][0] != number:
            writer.write(number, {name: np.concatenate(parts) for name, parts in shard.items()})
            shard = {name: [] for name in index.shapes}
        report(done, index.total)


@contextmanager
def _epoch_of(view: int, num_views: int) -> Iterator[None]:
    """Have data preprocessors make a view: that of an epoch, as counted by a runner."""
    hub = MessageHub.get_current_instance()
    before = dict(hub.runtime_info)
    # max_epochs=1 would mean an iteration-based run, where the iteration selects the view.
    hub.update_info_dict(dict(epoch=view, max_epochs=num_views + 1))
    try:
        yield
    finally:
        hub.runtime_info.clear()
        hub.runtime_info.update(before)


def _batches(rows: range, num_images: int, size: int) -> Iterator[tuple[int, list[int]]]:
    """Yield the view and the images of each batch of a shard; a batch has one view."""
    first = rows.start
    while first < rows.stop:
        view, image = divmod(first, num_images)
        last = min(first + size, rows.stop, (view + 1) * num_images)
        yield view, list(range(image, image + last - first))
        first = last


def _outputs(features: DistillFeatures, names: list[str]) -> dict[str, torch.Tensor]:
    """Return features of N images by their names in a cache."""
    modules = {f'module{i}': value for i, value in enumerate(features.modules, 1)}
    known = {'logits': features.logits, 'vector': features.last_vector, **modules}
    return {name: known[name].float() for name in names}
