from typing import Any

from mmengine.optim.scheduler.param_scheduler import INF, _ParamScheduler

from mmmuse.arguments import NonNegativeFloat, NonNegativeInt, PositiveInt
from mmmuse.errors import InputError
from mmmuse.registry import PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module()
class BiasWarmupLR(_ParamScheduler):
    """Warm up the learning rate linearly from 0, and that of biases from a higher value.

    The biases are the optimizer's group of that name
    (:class:`mmmuse.optim.ThreeGroupsConstructor`). Other schedulers of the learning
    rate must begin after the end of this one.

    Args:
        optimizer: The wrapped optimizer.
        bias_lr: Initial learning rate of the biases.
        begin: First step.
        end: The step after the last one, in which every rate is the optimizer's.
        **options: MMEngine's: ``last_step``, ``by_epoch``, ``verbose``; in a config also
            ``convert_to_iter_based=True``, to count ``begin`` and ``end`` in epochs.

    Raises:
        InputError: If the optimizer has no such group.

    Source: YOLOv5 (version 5.0), the detector of MUSE's table 4.
    """

    def __init__(
        self,
        optimizer: Any,
        bias_lr: NonNegativeFloat = 0.1,
        begin: NonNegativeInt = 0,
        end: PositiveInt = INF,
        **options: Any,
    ) -> None:
        groups = [group.get('name') for group in optimizer.param_groups]
        if 'bias' not in groups:
            raise InputError(
                "BiasWarmupLR needs a group of biases: optim_wrapper.constructor='mmmuse."
                "ThreeGroupsConstructor'"
            )
        self.starts = [bias_lr if name == 'bias' else 0.0 for name in groups]
        super().__init__(optimizer, 'lr', begin, end, **options)

    @classmethod
    def build_iter_from_epoch(
        cls,
        *args: Any,
        end: int,
        epoch_length: int,
        begin: int = 0,
        by_epoch: bool = True,
        **options: Any,
    ) -> 'BiasWarmupLR':
        """Build a scheduler by iterations from arguments in epochs."""
        if not by_epoch:
            raise InputError('convert_to_iter_based needs by_epoch=True')
        begin, end = int(begin * epoch_length), int(end * epoch_length)
        return cls(*args, begin=begin, end=end, by_epoch=False, **options)

    def _get_value(self) -> list[float]:
        share = self.last_step / max(self.end - self.begin - 1, 1)
        return [
            start + (base - start) * share
            for start, base in zip(self.starts, self.base_values, strict=True)
        ]
