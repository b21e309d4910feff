"""Write a config in which a network learns from a teacher, and which inherits from the plain one."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from mmmuse.checkpoints.network_config import network_config, whole_config
from mmmuse.checkpoints.network_names import is_network_name
from mmmuse.errors import InputError
from mmmuse.tapping.logits_kind import LogitsKind
from mmmuse.tapping.proposal import TapProposal

from .wrapping import propose_for_config


@dataclass(frozen=True)
class WrittenTeacher:
    """A teacher as it is written into a config.

    Attributes:
        name: Its config or name.
        checkpoint: File of its weights; None for those that a name stands for.
        taps: Of the teacher; None for those that a named network has by default.
        num_classes: K of its logits; None without logits.
        kind: What its logits mean; see :func:`mmmuse.tapping.logits_kind.logits_kind`.
        of_pixels: Whether they are those of a segmenter.
    """

    name: str
    checkpoint: str | None
    taps: dict[str, str] | None
    num_classes: int | None
    kind: LogitsKind = 'classes'
    of_pixels: bool = False


def teacher_of_config(name: str, checkpoint: str | None, num_modules: int) -> WrittenTeacher:
    """Return a teacher that is given by its config, with the proposed taps.

    Args:
        name: Path of the config, or ``mmpretrain::folder/file.py``.
        checkpoint: File of its weights.
        num_modules: Into which it is cut, to find its last feature.

    Raises:
        InputError: If it is not a complete config, or cannot be cut.
    """
    whole = whole_config(name)
    if whole is None:
        raise InputError(f'--teacher {name} is the config of a model alone: give a complete one')
    model = network_config(name)
    whole = Config(dict(whole, model=model))
    proposal = propose_for_config(whole, num_modules)
    taps = dict(last=proposal.last)
    if proposal.logits is not None:
        taps['logits'] = proposal.logits
    return WrittenTeacher(
        name, checkpoint, taps, proposal.num_classes, proposal.kind, proposal.of_pixels
    )


def taught_config(name: str, proposal: TapProposal, teacher: WrittenTeacher, out: Path) -> str:
    """Return the text of a config that inherits from ``name`` and learns from a teacher.

    The losses are MUSE from the teacher's last feature, and KD where both have logits of as many classes
    and of one kind: of images or of pixels, for a softmax or for a sigmoid.

    Args:
        name: Path of the plain config, or ``mmpretrain::...``.
        proposal: The cut of the student.
        teacher: That it learns from.
        out: Path of the new file; paths of configs are made relative to its folder.
    """
    why_no_kd = _why_no_kd(proposal, teacher)
    losses = ["        dict(type='mmmuse.MUSELoss'),"]
    if why_no_kd is None:
        kd = 'BinaryKDLoss' if proposal.kind == 'labels' else 'KDLoss'
        losses.insert(0, f"        dict(type='mmmuse.{kd}'),")
    taps = [] if teacher.taps is None else [f'    teacher_taps=dict({_arguments(teacher.taps)}),']
    lines = [
        *([] if why_no_kd is None else [f'# Without KD: {why_no_kd}.']),
        f'_base_ = [{from_folder_of(out, name)!r}]',
        '',
        'model = dict(',
        '    _delete_=True,',
        "    type='mmmuse.OfflineDistiller',",
        '    student=_base_.model,',
        f'    teacher={from_folder_of(out, teacher.name)!r},',
        *([f'    teacher_checkpoint={teacher.checkpoint!r},'] if teacher.checkpoint else []),
        *taps,
        '    taps=dict(',
        f'        modules={list(proposal.modules)!r},',
        f'        last={proposal.last!r},',
        *([f'        logits={proposal.logits!r},'] if why_no_kd is None else []),
        '    ),',
        f'    input_shape={list(proposal.input_shape)!r},',
        '    losses=[',
        *losses,
        '    ],',
        ')',
        '',
        'default_hooks = dict(',
        "    student_checkpoint=dict(type='mmmuse.StudentCheckpointHook'),",
        "    information=dict(type='mmmuse.InformationLoggerHook'),",
        ')',
    ]
    return '\n'.join(lines) + '\n'


def _why_no_kd(proposal: TapProposal, teacher: WrittenTeacher) -> str | None:
    """Return why the logits of both networks are not compared; None if they are."""
    if proposal.logits is None:
        return str(proposal.no_logits)
    if teacher.num_classes is None:
        return 'the teacher has no class logits'
    if proposal.of_pixels != teacher.of_pixels:
        return 'the logits of only one of the networks are those of pixels'
    if proposal.num_classes != teacher.num_classes:
        return (
            f'the student has {proposal.num_classes} classes and the teacher {teacher.num_classes}'
        )
    if proposal.kind != teacher.kind:
        return 'the logits of only one of the networks are for a sigmoid (multi-label)'
    return None


def from_folder_of(out: Path, name: str) -> str:
    """Return the path of a config, or the folder of a network, relative to the folder of ``out``."""
    library, separator, folder = name.partition('::')
    if is_network_name(name) and library == 'transformers' and Path(folder).is_dir():
        return library + separator + os.path.relpath(folder, out.parent or '.')
    return name if separator else os.path.relpath(name, out.parent or '.')


def _arguments(values: Mapping[str, str]) -> str:
    return ', '.join(f'{key}={value!r}' for key, value in values.items())
