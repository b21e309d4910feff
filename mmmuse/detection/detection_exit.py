from collections.abc import Sequence
from copy import deepcopy

from mmdet.models.utils import reweight_loss_dict
from mmdet.structures import DetDataSample
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor

from mmmuse.arguments import NonNegativeFloat, NonNegativeInt, PositiveInt
from mmmuse.necks import ExitNeck
from mmmuse.registry import MODELS


@MODELS.register_module()
class DetectionExit(BaseModule):
    """An exit of a single-stage detector: a second neck and a second head.

    Args:
        neck: Config of the neck, the detector's own by default; see :class:`ExitNeck`.
        bbox_head: Config of the dense head, with ``train_cfg`` and ``test_cfg``, the
            detector's own by default.
        local_channels: Channels of the exit's feature; inferred.
        channels: Channels of the backbone's maps after the exit; inferred.
        strides: Stride from the feature to each of them; inferred.
        num_reached: Number of the backbone's maps before the exit; inferred.
        bottleneck: More arguments of the bottlenecks: ``reduction``, ``norm_cfg``.
        loss_weight: Factor on the head's losses. The paper does not give this.
        init_cfg: MMEngine's.

    mmdet's hooks that change a head during training (YOLOX's L1 loss) do not change an exit's head.

    Source: MUSE (Gong et al., BMVC 2021), section 4.2.
    """

    def __init__(
        self,
        neck: dict | None,
        bbox_head: dict,
        local_channels: PositiveInt,
        channels: Sequence[PositiveInt],
        strides: Sequence[PositiveInt],
        num_reached: NonNegativeInt,
        bottleneck: dict | None = None,
        loss_weight: NonNegativeFloat = 1.0,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.neck_config = dict(
            type='mmmuse.ExitNeck',
            local_channels=local_channels,
            channels=list(channels),
            strides=list(strides),
            num_reached=num_reached,
            neck=neck,
            bottleneck=bottleneck,
        )
        self.head_config = deepcopy(dict(bbox_head))
        # No "neck" or "head" in names: with these custom_keys a user means the student's.
        self.adapter: ExitNeck = MODELS.build(deepcopy(self.neck_config))
        self.predictor = MODELS.build(deepcopy(self.head_config))
        self.loss_weight = loss_weight

    def loss(self, features: Sequence[Tensor], data_samples: list[DetDataSample]) -> dict:
        """Return the head's losses, weighted.

        Args:
            features: The backbone's maps before the exit, then the exit's feature.
            data_samples: N samples with ``gt_instances``.
        """
        losses = self.predictor.loss(self.adapter(features), data_samples)
        return reweight_loss_dict(losses, self.loss_weight)

    def predict(
        self, features: Sequence[Tensor], data_samples: list[DetDataSample]
    ) -> list[InstanceData]:
        """Return the boxes of N images, in pixels of the original images."""
        return self.predictor.predict(self.adapter(features), data_samples, rescale=True)
