from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS, OPTIMIZERS
from torch import nn

from mmmuse.errors import InputError
from mmmuse.registry import OPTIM_WRAPPER_CONSTRUCTORS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class ThreeGroupsConstructor:
    """An optimizer with three groups: weights, other parameters that do not decay, and biases.

    Weights are parameters of two dimensions and more; the second group has the
    scales of norm layers. A group's ``name`` is ``weight``, ``scale`` or ``bias``,
    by which :class:`mmmuse.optim.BiasWarmupLR` finds the biases. MMEngine's
    constructor with ``paramwise_cfg`` makes a group of each parameter instead.

    Args:
        optim_wrapper_cfg: Config of the wrapper, with ``optimizer``.
        paramwise_cfg: Must be None or empty.

    Raises:
        InputError: If a ``paramwise_cfg`` is given.

    Source: YOLOv5 (version 5.0), the detector of MUSE's table 4.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        if paramwise_cfg:
            raise InputError('ThreeGroupsConstructor reads no paramwise_cfg: its groups are fixed')
        self.optim_wrapper_cfg = {'type': 'OptimWrapper', **optim_wrapper_cfg}

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimizer wrapper for a model's trainable parameters."""
        groups = {name: [] for name in ('weight', 'scale', 'bias')}
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                kind = 'bias' if name.endswith('bias') else 'scale'
                groups['weight' if parameter.ndim > 1 else kind].append(parameter)
        wrapper = dict(self.optim_wrapper_cfg)
        optimizer = dict(wrapper.pop('optimizer'))
        optimizer['params'] = [
            dict(params=parameters, name=name, **({} if name == 'weight' else {'weight_decay': 0}))
            for name, parameters in groups.items()
            if parameters
        ]
        return OPTIM_WRAPPERS.build(
            wrapper, default_args=dict(optimizer=OPTIMIZERS.build(optimizer))
        )
