from typing import Any

from mmengine.runner import Runner

from mmmuse.distillers import BaseDistiller
from mmmuse.errors import InputError
from mmmuse.registry import MODELS, look_up

from .student_checkpoint import unwrapped


def check_runner(runner: Any) -> None:
    """Refuse a runner that builds its model, and a distiller, only when training starts.

    MMEngine's ``FlexibleRunner`` does: hooks cannot see the distiller before, and the checkpoints would not be
    the student's.

    Raises:
        InputError: If the model is a distiller, or is to become one.
    """
    if isinstance(runner, Runner):
        return
    model = runner.model
    kind = model.get('type') if isinstance(model, dict) else type(unwrapped(model))
    if isinstance(kind, str):
        kind = look_up(MODELS, kind)
    if isinstance(kind, type) and issubclass(kind, BaseDistiller):
        raise InputError(
            f"a distiller is trained by MMEngine's Runner, and runner_type is {type(runner).__name__!r}: "
            'leave runner_type and strategy out of the config'
        )
