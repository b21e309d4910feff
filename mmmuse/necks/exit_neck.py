from collections.abc import Sequence

from mmengine.model import BaseModule, ModuleList
from torch import Tensor

from mmmuse.arguments import NonNegativeInt, PositiveInt
from mmmuse.errors import InputError
from mmmuse.registry import MODELS

from .self_distill_neck import SelfDistillNeck


@MODELS.register_module()
class ExitNeck(BaseModule):
    """A network's neck at an exit, on the backbone's maps before it and replacements of the others.

    Each map after the exit is replaced by a bottleneck (:class:`mmmuse.necks.SelfDistillNeck`) on
    the feature of the exit.

    Args:
        local_channels: Channels of the exit's feature.
        channels: Channels of each map after the exit.
        strides: Stride from the exit's feature to each of them.
        num_reached: Number of maps before the exit.
        neck: Config of the network's neck; None if it has none.
        bottleneck: More arguments of the bottlenecks: ``reduction``, ``norm_cfg``.
        unread: Indices of the maps after the exit, from 0, that neck and head do not read. They
            are not replaced, and None stands for them.
        init_cfg: MMEngine's.

    Raises:
        InputError: If the lists differ in length.

    Source: MUSE (Gong et al., BMVC 2021), section 4.2. That bottlenecks replace the deep
    maps is our interpretation of the paper's YOLOv5.
    """

    def __init__(
        self,
        local_channels: PositiveInt,
        channels: Sequence[PositiveInt],
        strides: Sequence[PositiveInt],
        num_reached: NonNegativeInt,
        neck: dict | None = None,
        bottleneck: dict | None = None,
        unread: Sequence[NonNegativeInt] = (),
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if len(channels) != len(strides):
            raise InputError(
                f'ExitNeck needs a stride for each missing map, got {len(channels)} channels '
                f'and {len(strides)} strides'
            )
        self.num_reached = num_reached
        # No "neck" or "head" in names: with these custom_keys a user means the student's.
        self.branches = ModuleList(
            None
            if i in unread
            else SelfDistillNeck([local_channels], width, [stride], **(bottleneck or {}))
            for i, (width, stride) in enumerate(zip(channels, strides, strict=True))
        )
        self.fusion = None if neck is None else MODELS.build(neck)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Map the backbone's maps before the exit and the exit's feature, last, to the head's maps."""
        if len(features) != self.num_reached + 1:
            raise InputError(
                f'ExitNeck needs {self.num_reached} maps and the feature of the exit, got '
                f'{len(features)}'
            )
        *reached, local = features
        replaced = (None if branch is None else branch((local,))[0] for branch in self.branches)
        maps = (*reached, *replaced)
        return maps if self.fusion is None else tuple(self.fusion(maps))
