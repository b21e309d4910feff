"""Whose outputs a teacher's cache holds: digests of the teacher, and how its images were made."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.model import BaseModel
from torch import nn

from mmmuse.checkpoints.network_config import network_config
from mmmuse.checkpoints.regular_file import check_regular_file
from mmmuse.errors import InputError

from .channel_order import changes_nothing
from .library_teacher import is_library
from .teacher import Teacher

Provenance = dict[str, str]

_BLOCK = 2**20  # Bytes that are read at a time.
_OF_WEIGHTS = {'.safetensors', '.bin', '.pt', '.pth'}


def config_digest(teacher: Mapping | str | BaseModel) -> str | None:
    """Return the SHA-256 of a teacher's model config; None for a built model.

    It is that of the model with its data preprocessor, so that a config and the path of its file
    have one digest. The order of its keys does not matter.
    """
    if isinstance(teacher, nn.Module):
        return None
    text = json.dumps(_plain(network_config(teacher)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: str) -> str | None:
    """Return the SHA-256 of a checkpoint file; of an address that of its text.

    Returns:
        None if there is no such file.

    Raises:
        InputError: If it cannot be read.
    """
    if '://' in path:
        return hashlib.sha256(path.encode()).hexdigest()
    if not Path(path).exists():
        return None
    check_regular_file(path, 'teacher_checkpoint')
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def weights_digest(teacher: Mapping | str | BaseModel | None, checkpoint: str | None) -> str | None:
    """Return the SHA-256 of a teacher's weights: of their file, or of those in a local folder.

    Returns:
        None if no local file is named.
    """
    named = teacher if isinstance(teacher, Mapping) else {}
    checkpoint = checkpoint or named.get('checkpoint')
    if checkpoint is not None:
        return file_digest(checkpoint)
    name = str(named.get('name', teacher if isinstance(teacher, str) else ''))
    folder = Path(name.partition('::')[2])
    if not name.startswith('transformers::') or not folder.is_dir():
        return None
    files = sorted(file for file in folder.iterdir() if file.suffix in _OF_WEIGHTS)
    digests = [f'{file.name} {file_digest(str(file))}' for file in files]
    return hashlib.sha256('\n'.join(digests).encode()).hexdigest()


def given_provenance(
    teacher: Mapping | str | BaseModel | None,
    checkpoint: str | None,
    taps: Any,
    input_size: int | None,
    channel_order: str | None,
) -> Provenance:
    """Return what a config says about its teacher; what it leaves open is not in it.

    Args:
        teacher: As that of :class:`mmmuse.distillers.OfflineDistiller`, like the others.
        checkpoint: File of its weights.
        taps: Of the teacher.
        input_size: Height and width that it sees.
        channel_order: Of its images against the student's.
    """
    known = dict(
        config=None if teacher is None else config_digest(teacher),
        checkpoint=weights_digest(teacher, checkpoint),
        input_size=None if input_size is None else str(input_size),
        channel_order=channel_order,
    )
    # A network of another library has a size of its own.
    if input_size is None and known['config'] is not None and not is_library(teacher):
        preprocessor = network_config(teacher).get('data_preprocessor') or {}
        known['input_size'] = str(preprocessor.get('resize'))
    if teacher is not None and not isinstance(taps, Mapping):
        known['taps'] = 'default' if taps is None else str(taps)
    elif teacher is not None:
        known.update(last=taps.get('last'), logits=taps.get('logits'))
        if taps.get('modules') is not None:
            known['modules'] = str(list(taps['modules']))
    return {name: value for name, value in known.items() if value is not None}


def full_provenance(
    teacher: Teacher,
    config: Mapping | str | BaseModel,
    checkpoint: str | None,
    taps: Any,
    student: nn.Module,
) -> Provenance:
    """Return all that a built teacher's outputs depend on.

    Args:
        teacher: The teacher that runs.
        config: What it was built from.
        checkpoint: File of its weights.
        taps: Of the teacher, as configured.
        student: The student's data preprocessor, whose mean and deviation count if the teacher
            has no preprocessor of its own.
    """
    conversion = teacher.conversion
    own = changes_nothing(teacher.model.data_preprocessor)
    return dict(
        given_provenance(config, checkpoint, taps, None, None),
        modules=str(list(teacher.paths.shallow)),
        last=str(teacher.paths.last),
        logits=str(teacher.paths.logits),
        input_size=str(conversion.input_size),
        channel_order='reversed' if conversion.reverse else 'same',
        normalisation=_normalisation(student) if own else 'its own',
    )


def check_provenance(path: str, stored: Provenance, given: Provenance, student: nn.Module) -> None:
    """Refuse a cache of another teacher than the config's.

    Args:
        path: Of the cache.
        stored: Its entry ``teacher``, from :func:`full_provenance`.
        given: From :func:`given_provenance`.
        student: The student's data preprocessor.

    Raises:
        InputError: If they differ, or the cache does not say whose outputs it holds.
    """
    if not {'modules', 'last', 'normalisation'} <= set(stored):
        raise InputError(
            f'teacher_cache {path} does not say whose outputs it holds; write it again with mmmuse '
            'cache-teacher'
        )
    seen = dict(given)
    if stored['normalisation'] != 'its own':
        seen['normalisation'] = _normalisation(student)
    names = dict(
        config="the teacher's config",
        checkpoint="the content of the teacher's checkpoint",
        taps='teacher_taps',
        modules='teacher_taps.modules',
        last='teacher_taps.last',
        logits='teacher_taps.logits',
        input_size='teacher_input_size',
        channel_order='teacher_channel_order',
        normalisation="the student's data_preprocessor, which prepares the teacher's images too",
    )
    differ = [names[name] for name, value in seen.items() if stored.get(name) != value]
    if differ:
        raise InputError(
            f'teacher_cache {path} holds the outputs of another teacher: {", ".join(differ)} '
            f'{"differs" if len(differ) == 1 else "differ"}. Write it again with mmmuse '
            'cache-teacher, or set the teacher that wrote it'
        )


def _normalisation(preprocessor: nn.Module) -> str:
    if not getattr(preprocessor, '_enable_normalize', False):
        return 'none'
    return str([preprocessor.mean.flatten().tolist(), preprocessor.std.flatten().tolist()])


def _plain(value: Any) -> Any:
    """Return a part of a config in the types of JSON."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [_plain(item) for item in value]
    if isinstance(value, (str, bool, int, float)) or value is None:
        return value
    return getattr(value, '__name__', str(value))  # A class, as types of pure-Python configs are.
