"""One line for an error of a library, or of a user's part while a config is built."""

import sys
import traceback
from collections.abc import Iterator
from types import FrameType, TracebackType

from mmmuse.errors import TRACEBACK_VARIABLE

_HINT = f'{TRACEBACK_VARIABLE}=1 prints the traceback'
_OURS = 'mmmuse'
_OPENMMLAB = {'mmengine', 'mmcv', 'mmpretrain', 'mmdet', 'mmseg'}
# Their errors are those of the code that called them.
_CALLED = {'torch', 'torchvision', 'numpy', 'PIL', 'cv2', 'sklearn', 'pycocotools', 'einops'}
# A config's dicts, and the check of arguments, which calls the part.
_PASSED_THROUGH = ('mmengine.config', 'mmmuse.arguments')
_TOO_LARGE = (
    "can't allocate memory",
    'not enough memory',
    'out of memory',
    'Storage size calculation overflowed',
    'Overflow when unpacking long',
    'numel: integer multiplication overflow',
    "cannot fit 'int'",
    'int too large',
    'array is too big',
)


def too_large(error: BaseException) -> bool:
    """Return whether an error says that a tensor is larger than the memory."""
    return isinstance(error, MemoryError) or any(text in str(error) for text in _TOO_LARGE)


def library_explanation(error: BaseException) -> str | None:
    """Return one line for an error of a library or a user's part that a config has caused.

    An error while a part is built from a config is explained, and one of a library until the first
    step and the first evaluation of a run are done. An error in our own code is not: it is a bug,
    and keeps its traceback.
    """
    frames = list(_frames(error.__traceback__))
    part = next((found for frame in reversed(frames) if (found := _built_part(frame))), None)
    in_runner = any(_package(frame) == 'mmengine' for frame in frames)
    if part is None and not (in_runner and getattr(error, 'in_first_step', False)):
        return None
    if too_large(error):
        return f'config: {part or "the model"} is too large for the memory ({_message(error)})'
    package = _package(_raising(frames))
    if package == _OURS or (part is None and package not in _OPENMMLAB):
        return None
    where = part or 'in the first step or evaluation'
    return f'config: {where}: {_in_words(error)}'


def library_failure(error: BaseException) -> str | None:
    """Return one line for an error of a library in a command that runs a network without a runner.

    An error in a run is left to :func:`library_explanation`; one in our own code is a bug, and keeps its
    traceback.
    """
    frame = _raising(list(_frames(error.__traceback__)))
    if hasattr(error, 'in_first_step') or _package(frame) not in _OPENMMLAB:
        return None
    owner = frame.f_locals.get('self')
    where = frame.f_code.co_name if owner is None else type(owner).__name__
    return f'{where} failed: {_in_words(error)}'


def _in_words(error: BaseException) -> str:
    message = _message(error)
    return f'{type(error).__name__}{": " if message else ""}{message} ({_HINT})'


def _message(error: BaseException) -> str:
    # str() of a KeyError is the repr of its message.
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    return ' '.join(str(text).split())


def _raising(frames: list[FrameType]) -> FrameType | None:
    """Return the frame of the innermost code that is not in a library of tensors or images."""
    for frame in reversed(frames):
        package = _package(frame)
        if frame.f_globals.get('__name__', '').startswith(_PASSED_THROUGH):
            continue
        if package not in _CALLED and package not in sys.stdlib_module_names:
            return frame
    return None


def _package(frame: FrameType | None) -> str:
    return '' if frame is None else str(frame.f_globals.get('__name__', '')).partition('.')[0]


def _built_part(frame: FrameType) -> str | None:
    """Return the name of the class that a frame of MMEngine's registry builds."""
    if frame.f_code.co_name != 'build_from_cfg' or _package(frame) != 'mmengine':
        return None
    part = frame.f_locals.get('obj_cls')
    if not callable(part):
        return str(frame.f_locals.get('obj_type') or 'a part')
    name = getattr(part, '__name__', str(part))
    module = str(getattr(part, '__module__', ''))
    known = module.partition('.')[0] in _OPENMMLAB | _CALLED | {_OURS}
    return name if known else f'{module}.{name}'


def _frames(tb: TracebackType | None) -> Iterator[FrameType]:
    return (frame for frame, _ in traceback.walk_tb(tb))
