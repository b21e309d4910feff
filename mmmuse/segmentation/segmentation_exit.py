from collections.abc import Sequence
from copy import deepcopy

from mmengine.model import BaseModule
from mmseg.structures import SegDataSample
from torch import Tensor

from mmmuse.arguments import NonNegativeFloat, NonNegativeInt, PositiveInt
from mmmuse.necks.exit_neck import ExitNeck
from mmmuse.registry import MODELS

from .exit_head import check_exit_head


@MODELS.register_module()
class SegmentationExit(BaseModule):
    """An exit of a segmenter: a second decode head, on the exit's feature or on maps.

    A decode head in the config reads the feature of the exit alone. Without one, the student's
    own neck and decode head read the backbone's maps before the exit, and bottlenecks in
    place of the others; see :class:`mmmuse.necks.ExitNeck`.

    Args:
        decode_head: Config of the decode head, e.g. ``dict(type='FCNHead')``. What it leaves out is
            that of the student's: classes, width (``channels``), norm, and the loss if it is computed as
            in mmseg's base class, else cross-entropy.
        local_channels: Channels of the exit's feature; inferred.
        neck: Config of the neck with the student's own decode head; the student's by default.
        channels: Channels of the backbone's maps after the exit; inferred. None for a head on
            the feature alone.
        strides: Stride from the feature to each of them; inferred.
        num_reached: Number of the backbone's maps before the exit; inferred.
        unread: Maps after the exit that neck and head do not read; inferred.
        bottleneck: More arguments of the bottlenecks: ``reduction``, ``norm_cfg``.
        loss_weight: Factor on the head's losses; 0.4, as mmseg's auxiliary heads have. The paper
            has no segmentation.
        init_cfg: MMEngine's.

    Raises:
        InputError: If the decode head cannot be an exit.
    """

    def __init__(
        self,
        decode_head: dict,
        local_channels: PositiveInt,
        neck: dict | None = None,
        channels: Sequence[PositiveInt] | None = None,
        strides: Sequence[PositiveInt] = (),
        num_reached: NonNegativeInt = 0,
        unread: Sequence[NonNegativeInt] = (),
        bottleneck: dict | None = None,
        loss_weight: NonNegativeFloat = 0.4,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.neck_config = None
        if channels is not None:
            self.neck_config = dict(
                type='mmmuse.ExitNeck',
                local_channels=local_channels,
                channels=list(channels),
                strides=list(strides),
                num_reached=num_reached,
                neck=neck,
                bottleneck=bottleneck,
                unread=list(unread),
            )
        self.head_config = deepcopy(dict(decode_head))
        # No "neck" or "head" in names: with these custom_keys a user means the student's.
        self.adapter: ExitNeck | None = None
        if self.neck_config is not None:
            self.adapter = MODELS.build(deepcopy(self.neck_config))
        self.predictor = MODELS.build(deepcopy(self.head_config))
        self.loss_weight = loss_weight
        check_exit_head(self.predictor)

    def logits(self, features: Sequence[Tensor]) -> Tensor:
        """Return the logits ``(N, K, h, w)``.

        Args:
            features: The backbone's maps before the exit, then the exit's feature.
        """
        maps = features[-1:] if self.adapter is None else self.adapter(features)
        return self.predictor.forward(list(maps))

    def task_losses(self, logits: Tensor, data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """Return the head's losses, weighted, and its pixel accuracy.

        Args:
            logits: Of :meth:`logits`.
            data_samples: N samples with ``gt_sem_seg``.
        """
        losses = self.predictor.loss_by_feat(logits, data_samples)
        return {
            name: value * self.loss_weight if 'loss' in name else value
            for name, value in losses.items()
        }

    def window_logits(self, features: Sequence[Tensor], metas: list[dict]) -> Tensor:
        """Return the logits in the size of the images, or of a window of them, as mmseg does."""
        return self.predictor.predict_by_feat(self.logits(features), metas)
