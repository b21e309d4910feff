from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from mmmuse.errors import InputError
from mmmuse.registry import MODELS
from mmmuse.tapping.features import DistillFeatures


class Discrepancy(nn.Module, ABC):
    """A loss between the shallow features of a network and the last one.

    All discrepancies are built with the channels that the dry run found, and
    called with the features of a step, so that a config exchanges one for
    another in one line.

    Args:
        local_channels: Channels of each shallow feature, modules 1 to T - 1.
        last_channels: Channels of the last feature.
        loss_weight: Factor on the loss.

    Attributes:
        reads_exits: Whether it reads the neck's maps rather than the raw features.
        reads_maps: Whether it compares locations, and so cannot read a vector.
        compares_modules: Whether each shallow feature can have a target of its own,
            the same module of another network; else all have the last feature. Such
            a loss takes ``target_channels``, the channels of each target.
        min_batch_size: Images that it needs in a batch.
    """

    reads_exits: ClassVar[bool] = False
    reads_maps: ClassVar[bool] = False
    compares_modules: ClassVar[bool] = False
    min_batch_size: ClassVar[int] = 1

    def __init__(self, local_channels: list[int], last_channels: int, loss_weight: float) -> None:
        super().__init__()
        self.local_channels = tuple(local_channels)
        self.last_channels = last_channels
        self.loss_weight = loss_weight

    @abstractmethod
    def forward(self, features: DistillFeatures) -> dict[str, Tensor]:
        """Return named scalars; those with ``loss`` in the name are summed and minimised."""


def build_discrepancy(config: dict, local_channels: list[int], last_channels: int) -> Discrepancy:
    """Build a discrepancy from its config.

    Args:
        config: With its ``type``, a registered subclass of :class:`Discrepancy`.
        local_channels: Channels of each shallow feature.
        last_channels: Channels of the last feature.

    Raises:
        InputError: If no discrepancy has that name; those that there are are listed.
    """
    name = config.get('type')
    kind = MODELS.get(name) if isinstance(name, str) else name
    if not (isinstance(kind, type) and issubclass(kind, Discrepancy)):
        known = sorted(
            f'mmmuse.{name}'
            for name, module in MODELS.module_dict.items()
            if isinstance(module, type) and issubclass(module, Discrepancy)
        )
        raise InputError(f'{name!r} is no discrepancy; there are {", ".join(known)}')
    return MODELS.build(
        config, default_args=dict(local_channels=local_channels, last_channels=last_channels)
    )
