"""Hooks, loops and options of OpenMMLab that address parts of ``runner.model`` by name.

Most of them reach the student, since a distiller has its attributes. This module refuses the others
at the start; ``docs/compatibility.md`` has the table.
"""

from collections.abc import Iterator
from operator import attrgetter

from mmengine.hooks import Hook, PrepareTTAHook
from mmengine.model import BaseTTAModel
from torch import nn

from mmmuse.distillers import BaseDistiller, MergedExits, OnlineDistiller, TeacherCache
from mmmuse.errors import InputError
from mmmuse.tapping.path_hooks import resolve_tap

from .prototypes import StudentPrototypeHook

# They change parts of one network.
_CHANGES_PARTS = {
    'DenseCLHook',
    'PrepareProtoBeforeValLoopHook',
    'SetAdaptiveMarginsHook',
    'SetEpochInfoHook',
    'SwAVHook',
    'WarmupParamHook',
    'YOLOXModeSwitchHook',
}


def check_parts_by_name(runner, distiller: BaseDistiller) -> None:
    """Let a runner's hooks and options reach the student, or refuse them.

    Args:
        runner: MMEngine's, before it trains or tests.
        distiller: Its model.

    Raises:
        InputError: If a hook, loop or option cannot reach the student, or would change one of
            several networks.
    """
    for hook in runner.hooks:
        _check_hook(hook, distiller)
    for loop in (getattr(runner, '_val_loop', None), getattr(runner, '_test_loop', None)):
        kind = loop.get('type') if isinstance(loop, dict) else type(loop).__name__
        if str(kind).endswith('TeacherStudentValLoop'):
            raise InputError(_semi_supervised('TeacherStudentValLoop', distiller))
    _check_augmented_test(runner, distiller)
    for option in ('activation_checkpointing', 'efficient_conv_bn_eval'):
        paths = runner.cfg.get(option) or []
        for path in [paths] if isinstance(paths, str) else paths:
            module = _module_at(path, option, distiller)
            if option == 'efficient_conv_bn_eval':
                _refuse_taps_inside(path, module, distiller)


def _check_hook(hook: Hook, distiller: BaseDistiller) -> None:
    names = {kind.__name__ for kind in type(hook).__mro__}
    name = type(hook).__name__
    if 'MeanTeacherHook' in names:
        raise InputError(_semi_supervised(name, distiller))
    recipes = list(hook.schedule.values()) if 'SwitchRecipeHook' in names else []
    changes_parts = names & _CHANGES_PARTS or any('loss' in recipe for recipe in recipes)
    if changes_parts and isinstance(distiller, OnlineDistiller):
        first, *others = distiller.tapped
        raise InputError(
            f'{name} changes one network: of the {type(distiller).__name__} only peer {first!r} '
            f'(student), and not {", ".join(f"peers.{other}" for other in others)}; remove the hook'
        )
    if any(recipe.get('batch_augments') is not None for recipe in recipes):
        _refuse_mixing(name, distiller)
    if 'PrepareProtoBeforeValLoopHook' in names:
        if not hasattr(distiller.student, 'prepare_prototype'):
            raise InputError(
                f'{name} prepares the prototypes of a retriever, and the student is a '
                f'{type(distiller.student).__name__}, which has no student.prepare_prototype: remove '
                'the hook'
            )
        hook.__class__ = StudentPrototypeHook


def _check_augmented_test(runner, distiller: BaseDistiller) -> None:
    """Refuse a model that merges the student's predictions and keeps those of exits of one view."""
    merging = [runner.model] if isinstance(runner.model, BaseTTAModel) else []
    kinds = [type(model).__name__ for model in merging]
    hooks = [hook for hook in runner.hooks if isinstance(hook, PrepareTTAHook)]
    kinds += [str(hook.tta_cfg.get('type')).rpartition('.')[2] for hook in hooks]
    parts = dict(distiller.named_modules())
    added = [name for name in ('muse.exits', 'exits', 'peers') if len(parts.get(name) or ())]
    for kind in kinds:
        if added and kind != MergedExits.__name__:
            raise InputError(
                f'{kind} merges the predictions of the student and not those of {added[0]}: use '
                f"dict(type='mmmuse.MergedExits', tta_model=dict(type={kind!r})), as mmmuse test --tta does"
            )


def _semi_supervised(name: str, distiller: BaseDistiller) -> str:
    return (
        f'{name} reads model.student and model.teacher of a semi-supervised detector; in a '
        f'{type(distiller).__name__} model.student is the distilled network, whose parts are '
        f'student.backbone, ...: remove the {"loop" if name.endswith("Loop") else "hook"}, or train '
        'that detector without the distiller'
    )


def _refuse_mixing(name: str, distiller: BaseDistiller) -> None:
    readers = distiller.label_readers
    if isinstance(getattr(distiller, 'teacher', None), TeacherCache):
        readers.append('teacher_cache')
    if readers:
        raise InputError(
            f'{name} sets batch_augments, which mixes images, in student.data_preprocessor, and '
            f'{", ".join(readers)} needs images of one class: remove it from the schedule'
        )


def _module_at(path: str, option: str, distiller: BaseDistiller) -> nn.Module:
    try:
        module = attrgetter(path)(distiller)
    except AttributeError:
        module = None
    if not isinstance(module, nn.Module):
        parts = ', '.join(f'student.{name}' for name, _ in distiller.student.named_children())
        raise InputError(f'{option}: there is no module {path!r}; available: {parts} and their own')
    return module


def _refuse_taps_inside(path: str, module: nn.Module, distiller: BaseDistiller) -> None:
    inside = {id(part) for part in module.modules() if part is not module}
    for tap, tapped in _tapped_modules(distiller):
        if id(tapped) in inside:
            raise InputError(
                f'efficient_conv_bn_eval of {path!r} runs without calling the tapped module {tap!r}: '
                'name modules that have no tapped module inside'
            )


def _tapped_modules(distiller: BaseDistiller) -> Iterator[tuple[str, nn.Module]]:
    for tapped in distiller.tapped_networks:
        for path in tapped.taps.paths:
            yield path, resolve_tap(tapped.network, path)
