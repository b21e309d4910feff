from collections.abc import Sequence

from mmengine.model import BaseModule, ModuleList
from torch import Tensor

from mmmuse.arguments import NonNegativeInt, PositiveInt
from mmmuse.errors import InputError
from mmmuse.necks.self_distill_neck import SelfDistillNeck
from mmmuse.registry import MODELS


@MODELS.register_module()
class ExitNeck(BaseModule):
    """A detector's neck at an exit, on the backbone's maps before it and replacements of the others.

    Each map after the exit is replaced by a bottleneck (:class:`mmmuse.necks.SelfDistillNeck`) on
    the feature of the exit.

    Args:
        local_channels: Channels of the exit's feature.
        channels: Channels of each map after the exit.
        strides: Stride from the exit's feature to each of them.
        num_reached: Number of maps before the exit.
        neck: Config of the detector's neck; None if it has none.
        bottleneck: More arguments of the bottlenecks: ``reduction``, ``norm_cfg``.
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
            SelfDistillNeck([local_channels], width, [stride], **(bottleneck or {}))
            for width, stride in zip(channels, strides, strict=True)
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
        maps = (*reached, *(bottleneck((local,))[0] for bottleneck in self.branches))
        return maps if self.fusion is None else tuple(self.fusion(maps))
