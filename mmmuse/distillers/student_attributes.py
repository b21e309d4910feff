from functools import wraps
from typing import Any

from mmengine.model import BaseModel
from torch import nn


class StudentAttributes(BaseModel):
    """A model whose public attributes are those of its student, where it has none of its own.

    Code that was written for the plain model finds and sets its parts: ``model.head.loss_module``,
    ``model.extract_feat(images)``, ``model.loss_lambda = 0.5``. Names of parameters and modules are
    unchanged: in ``state_dict`` and ``named_parameters`` the student is ``student.``.
    """

    _is_built = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let the ``__init__`` of a subclass note when it is done."""
        super().__init_subclass__(**kwargs)
        init = cls.__dict__.get('__init__')
        if init is None:
            return

        @wraps(init)
        def noting_init(self: StudentAttributes, *args: Any, **kwargs: Any) -> None:
            init(self, *args, **kwargs)
            outermost = next(kind for kind in type(self).__mro__ if '__init__' in vars(kind))
            if outermost is cls:
                self._is_built = True

        cls.__init__ = noting_init

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            student = self._student_with(name)
            if student is None:
                raise
        return getattr(student, name)

    def __setattr__(self, name: str, value: Any) -> None:
        student = self._student_with(name)
        # While it is built, a distiller sets attributes of its own.
        if student is None or not self._is_built or self._has_own(name):
            super().__setattr__(name, value)
        else:
            setattr(student, name, value)

    def _student_with(self, name: str) -> nn.Module | None:
        """Return the student if it has a public attribute."""
        student = self.__dict__.get('_modules', {}).get('student')
        # A "module" is what a wrapper such as DDP has.
        is_there = not name.startswith('_') and name != 'module' and hasattr(student, name)
        return student if student is not None and is_there else None

    def _has_own(self, name: str) -> bool:
        own = (self.__dict__, self._modules, self._parameters, self._buffers)
        return hasattr(type(self), name) or any(name in names for names in own)
