"""Build several teachers of one student, and the losses with which it learns from them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, get_type_hints

from mmengine.model import BaseModel, ModuleDict

from mmmuse.arguments import NonNegativeFloat, check_keys
from mmmuse.checkpoints.network_names import is_teacher_entry
from mmmuse.errors import InputError
from mmmuse.losses import Edge, build_edge
from mmmuse.losses.edge_group import EdgeGroup
from mmmuse.tapping.features import NetworkSpecs
from mmmuse.tapping.loaded_order import ImageOrder

from .build_teacher import TeacherConfig, build_teacher
from .teacher import Teacher
from .teacher_group import TeacherEnsemble, TeacherGroup


@dataclass(frozen=True)
class TeacherEntry:
    """One of several teachers.

    Attributes:
        config: What it is built from.
        losses: Of its edge; None for those that all teachers share.
        weight: Factor on these losses; None if it is not given.
    """

    config: TeacherConfig
    losses: Sequence[dict] | None = None
    weight: float | None = None


_OF_ONE = re.compile(
    r'\bteacher_(checkpoint|taps|input_size|channel_order|input_shape|image_order)\b'
)
_OF_ENTRY = {'losses': Sequence[dict], 'weight': NonNegativeFloat, 'name': str}


def read_teachers(teachers: Sequence) -> dict[str, TeacherEntry]:
    """Read a list of teachers.

    Args:
        teachers: Each one as the argument ``teacher`` of :class:`mmmuse.distillers.OfflineDistiller`, or
            ``dict(teacher=..., checkpoint=..., taps=..., losses=[...], weight=..., name=...)``.

    Returns:
        By name; by default ``teacher1``, ``teacher2`` and so on.

    Raises:
        InputError: If the list is empty, a key is unknown, or a name is given twice.
    """
    if not teachers:
        raise InputError('teacher is an empty list: give at least one teacher')
    keys = get_type_hints(TeacherConfig, include_extras=True) | _OF_ENTRY
    entries: dict[str, TeacherEntry] = {}
    for number, item in enumerate(teachers):
        given = dict(item) if is_teacher_entry(item) else dict(teacher=item)
        unknown = sorted(set(given) - set(keys))
        if unknown:
            raise InputError(
                f'teacher[{number}]: unknown keys {", ".join(unknown)}; available: {", ".join(keys)}'
            )
        check_keys(f'teacher[{number}]', given, keys)
        losses, weight = given.pop('losses', None), given.pop('weight', None)
        name = given.pop('name', f'teacher{number + 1}')
        # MMEngine sums what has "loss" in its name.
        if not name.isidentifier() or hasattr(ModuleDict(), name) or 'loss' in name:
            raise InputError(
                f'teacher[{number}].name is a word such as vit or small, without "loss" in it, got '
                f'{name!r}'
            )
        if name in entries:
            raise InputError(f'two teachers are named {name!r}')
        entries[name] = TeacherEntry(TeacherConfig(**given), losses, weight)
    return entries


def refuse_options_of_one(options: Mapping[str, Any]) -> None:
    """Refuse options of a single teacher beside a list of teachers.

    Raises:
        InputError: Naming them.
    """
    given = [name for name, value in options.items() if value is not None]
    if 'teacher_cache' in given:
        raise InputError('teacher_cache holds the outputs of one teacher, and teacher is a list')
    if given:
        own = ', '.join(name.removeprefix('teacher_') for name in given)
        raise InputError(
            f'teacher is a list, and {", ".join(given)} is for one teacher: give {own} in the items '
            'of the list, dict(teacher=..., ...)'
        )


def build_teachers(
    entries: Mapping[str, TeacherEntry],
    student: BaseModel,
    specs: NetworkSpecs,
    losses: Sequence[dict],
    ensemble: str | None = None,
    student_taps: dict | str | None = None,
    image_order: ImageOrder | None = None,
    trust: bool = False,
) -> tuple[TeacherGroup, EdgeGroup | Edge]:
    """Build teachers, and an edge from each, or one from the mean of their logits.

    Args:
        entries: The teachers by name.
        student: The network that learns.
        specs: Shapes of its features.
        losses: Configs of the losses of teachers that have none of their own.
        ensemble: ``'logits'`` for one edge from the mean of the teachers' logits.
        student_taps: See :func:`mmmuse.distillers.build_teacher.build_teacher`.
        image_order: Likewise.
        trust: Likewise.

    Raises:
        InputError: Naming the teacher that cannot be built, or has no losses; if ``losses`` are given
            and every teacher has its own.
    """
    if ensemble is not None:
        own = [name for name, each in entries.items() if (each.losses, each.weight) != (None, None)]
        if own:
            raise InputError(
                f'ensemble={ensemble!r} is one edge with the losses of the distiller: remove losses and '
                f'weight of teacher {", ".join(own)}'
            )
    if losses and ensemble is None and all(each.losses is not None for each in entries.values()):
        raise InputError(
            'every teacher has losses of its own, so no teacher has those of the distiller (losses or '
            'phases): leave these out, or the losses of a teacher'
        )
    teachers: dict[str, Teacher] = {}
    for name, each in entries.items():
        with _named(name):
            teachers[name] = build_teacher(
                each.config, student, student_taps, image_order, trust, 'teacher.'
            )
    if ensemble is not None:
        group = TeacherEnsemble(teachers)
        return group, build_edge(losses, specs, group.specs)
    edges = {}
    for name, each in entries.items():
        with _named(name):
            own = losses if each.losses is None else each.losses
            if not own:
                raise InputError('it has no losses, and neither has the distiller')
            edges[name] = build_edge(own, specs, teachers[name].specs)
            teachers[name].reads_head = edges[name].reads_head
    weights = {name: each.weight for name, each in entries.items() if each.weight is not None}
    return TeacherGroup(teachers), EdgeGroup(edges, weights)


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Name the teacher in an error."""
    try:
        yield
    except InputError as error:
        text = _OF_ONE.sub(r'\1', str(error))  # In the list the keys have no prefix.
        raise InputError(f'teacher {name}: {text}') from error
