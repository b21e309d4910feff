"""A teacher's outputs for fixed views of a training set, for ``teacher_cache``."""

from collections.abc import Callable
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mmmuse.distillers import OfflineDistiller
from mmmuse.distillers.teacher import Teacher
from mmmuse.distillers.teacher_cache import VIEW_SETTINGS
from mmmuse.distillers.teacher_provenance import full_provenance
from mmmuse.errors import InputError
from mmmuse.registry import MODELS


def build_offline(config: Config, num_views: int, seed: int) -> OfflineDistiller:
    """Build an offline distiller whose data preprocessor makes fixed views.

    Raises:
        InputError: If the config's model is not an ``mmmuse.OfflineDistiller`` with a teacher
            whose logits and last feature are tapped, or its data has no fixed views.
    """
    init_default_scope(config.get('default_scope') or 'mmpretrain')
    model = dict(config.model)
    kind = MODELS.get(str(model.get('type')))
    if not (isinstance(kind, type) and issubclass(kind, OfflineDistiller)):
        raise InputError(f'the model is a {model.get("type")}, not an mmmuse.OfflineDistiller')
    preprocessor = dict(
        config.get('data_preprocessor') or model['student'].get('data_preprocessor') or {}
    )
    if preprocessor.get('type') != 'mmmuse.BatchedDataPreprocessor':
        raise InputError(
            'fixed views come from mmmuse.BatchedDataPreprocessor, and the config has '
            f'{preprocessor.get("type")}'
        )
    if preprocessor.get('batch_augments'):
        raise InputError('a cache has the outputs of single images, and batch_augments mixes them')
    preprocessor.update(fixed_views=num_views, seed=seed)
    model['student'] = {**model['student'], 'data_preprocessor': preprocessor}
    model['teacher_cache'] = None
    distiller = MODELS.build(model)
    if not isinstance(distiller.teacher, Teacher):
        raise InputError('a cache holds the outputs of one teacher, and teacher is a list')
    if distiller.teacher.paths.logits is None or distiller.teacher.paths.last is None:
        raise InputError('a cache holds logits and the last feature: set both in teacher_taps')
    return distiller.eval()


@torch.no_grad()
def cache_teacher(
    config: Config,
    distiller: OfflineDistiller,
    dtype: torch.dtype = torch.float32,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> dict:
    """Return the teacher's logits and pooled features of every image in every view.

    Args:
        config: With ``train_dataloader``.
        distiller: From :func:`build_offline`.
        dtype: Of the outputs.
        report: Called with the number of finished batches and their total.

    Returns:
        ``logits`` ``(V, M, K)``, ``vectors`` ``(V, M, C)``, ``labels`` ``(M, )``,
        ``views``, the settings that the views depend on, and ``teacher``, whose outputs they are
        (:func:`mmmuse.distillers.teacher_provenance.full_provenance`).
    """
    loader = dict(config.train_dataloader, sampler=dict(type='DefaultSampler', shuffle=False))
    loader = Runner.build_dataloader({**loader, 'drop_last': False})
    teacher, preprocessor = distiller.teacher, distiller.data_preprocessor
    num_views, total = preprocessor.fixed_views, len(loader.dataset)
    shape = (num_views, total)
    logits = torch.empty(*shape, teacher.specs.num_classes, dtype=dtype)
    vectors = torch.empty(*shape, teacher.specs.last.channels, dtype=dtype)
    labels = torch.empty(total, dtype=torch.int64)
    hub = MessageHub.get_instance('cache_teacher')
    for view in range(num_views):
        # max_epochs=1 would mean an iteration-based run, where the iteration selects the view.
        hub.update_info_dict(dict(epoch=view, max_epochs=num_views + 1))
        for done, batch in enumerate(loader, 1):
            places = batch['sample_idx']
            labels[places] = batch['gt_label']
            features = teacher(preprocessor(batch, training=True)['inputs'])
            logits[view, places] = features.logits.to('cpu', dtype)
            vectors[view, places] = features.last_vector.to('cpu', dtype)
            report(view * len(loader) + done, num_views * len(loader))
    views = {name: getattr(preprocessor, name) for name in VIEW_SETTINGS}
    model = config.model
    of = full_provenance(teacher, model.teacher, model.get('teacher_checkpoint'), preprocessor)
    return dict(logits=logits, vectors=vectors, labels=labels, views=views, teacher=of)


def save_cache(cache: dict, out: Path) -> None:
    """Write a cache to a temporary file, and rename it when complete."""
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(out.name + '.part')
    try:
        torch.save(cache, part)
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
