from copy import deepcopy
from typing import Any

from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS as ALL_CONSTRUCTORS
from torch import nn

from mmmuse.distillers import BaseDistiller, OnlineDistiller
from mmmuse.errors import InputError
from mmmuse.registry import OPTIM_WRAPPER_CONSTRUCTORS, look_up

_KEY = 'student_constructor'
# They read a distiller's own names, or none.
_FOR_DISTILLERS = {'DefaultOptimWrapperConstructor', 'LearningRateDecayOptimWrapperConstructor'}


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class StudentConstructor:
    """Group the student's parameters by another constructor, which sees the plain student.

    Constructors such as mmdet's ``LearningRateDecayOptimizerConstructor`` find a parameter's layer by
    its name, ``backbone.stages.0...``. In a distiller it is ``student.backbone.stages.0...``. The
    parameters that a distiller adds are one group with the optimizer's defaults. The networks of an
    ``OnlineDistiller`` are grouped one after the other.

    Args:
        optim_wrapper_cfg: Config of the optimizer wrapper.
        paramwise_cfg: Of the other constructor, with its name as ``student_constructor``.

    Raises:
        InputError: If the other constructor returns more than one optimizer.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict) -> None:
        self.optim_wrapper_cfg = optim_wrapper_cfg
        self.paramwise_cfg = dict(paramwise_cfg)
        self.constructor = self.paramwise_cfg.pop(_KEY)

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimizer wrapper for a model's trainable parameters."""
        model = getattr(model, 'module', model)
        networks = [model.student]
        if isinstance(model, OnlineDistiller):
            networks = list(model.networks.values())
        first, *others = map(self._of_network, networks)
        for other in others:
            for group in other.optimizer.param_groups:
                first.optimizer.add_param_group(group)
        theirs = {id(parameter) for network in networks for parameter in network.parameters()}
        added = {
            name: parameter
            for name, parameter in model.named_parameters()
            if parameter.requires_grad and id(parameter) not in theirs
        }
        if added:
            group = dict(params=list(added.values()))
            if 'param_names' in first.optimizer.param_groups[0]:  # PyTorch wants all or none.
                group['param_names'] = list(added)
            first.optimizer.add_param_group(group)
        first.groups_student = True  # For check_constructor().
        return first

    def _of_network(self, network: nn.Module) -> OptimWrapper:
        config = dict(
            type=self.constructor,
            optim_wrapper_cfg=deepcopy(self.optim_wrapper_cfg),
            paramwise_cfg=deepcopy(self.paramwise_cfg),
        )
        wrapper = ALL_CONSTRUCTORS.build(config)(network)
        # MMEngine's wrapper of several optimizers is a subclass.
        if not isinstance(wrapper, OptimWrapper) or isinstance(wrapper, OptimWrapperDict):
            raise InputError(
                f'optim_wrapper.constructor {self.constructor!r} returns a {type(wrapper).__name__}; '
                'a distiller is trained by one optimizer'
            )
        return wrapper


def for_student(optim_wrapper: Any, model: nn.Module) -> Any:
    """Return an optimizer wrapper's config whose constructor sees the student's own names.

    Args:
        optim_wrapper: The config, or a built wrapper, which is returned.
        model: The model that is trained; for others than distillers the config is returned.
    """
    name = optim_wrapper.get('constructor') if isinstance(optim_wrapper, dict) else None
    if name is None or not isinstance(model, BaseDistiller) or not reads_names(name):
        return optim_wrapper
    paramwise = {**(optim_wrapper.get('paramwise_cfg') or {}), _KEY: name}
    return {
        **optim_wrapper,
        'constructor': 'mmmuse.StudentConstructor',
        'paramwise_cfg': paramwise,
    }


def check_constructor(config: dict | None, optim_wrapper: Any) -> None:
    """Refuse an optimizer that was grouped by the names of a plain model.

    Args:
        config: Of the optimizer wrapper.
        optim_wrapper: Of a distiller; one that is not built, as in a test, is not checked.

    Raises:
        InputError: Naming the constructor to use.
    """
    name = (config or {}).get('constructor')
    if not name or not isinstance(optim_wrapper, OptimWrapper):
        return
    if reads_names(name) and not hasattr(optim_wrapper, 'groups_student'):
        raise InputError(
            f'optim_wrapper.constructor {name!r} reads parameter names such as backbone.*, which are '
            "student.backbone.* here: set constructor='mmmuse.StudentConstructor' and "
            f'paramwise_cfg.student_constructor={name!r}, as mmmuse train does'
        )


def reads_names(name: str | type) -> bool:
    """Return whether a constructor may expect the parameter names of a plain model."""
    kind = look_up(ALL_CONSTRUCTORS, name) if isinstance(name, str) else name
    if kind is None:  # MMEngine says so.
        return False
    package = kind.__module__.partition('.')[0]
    return package != 'mmmuse' and not (
        kind.__name__ in _FOR_DISTILLERS and package in ('mmengine', 'mmpretrain')
    )
