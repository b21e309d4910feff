from mmdet.models.necks import YOLOXPAFPN
from torch import nn

from mmmuse.arguments import PositiveInts
from mmmuse.registry import MODELS


@MODELS.register_module()
class YOLOv5PAFPN(YOLOXPAFPN):
    """The path aggregation network of YOLOv5: YOLOX's, whose levels keep their channels.

    Args:
        in_channels: Channels of each of the backbone's maps, and of each level here.
        **options: Of :class:`mmdet.models.necks.YOLOXPAFPN`: ``num_csp_blocks``,
            ``norm_cfg``, ``act_cfg``, ``init_cfg``, ...

    Source: YOLOv5 (version 5.0), the detector of MUSE's table 4.
    """

    def __init__(self, in_channels: PositiveInts, **options: object) -> None:
        super().__init__(list(in_channels), out_channels=in_channels[0], **options)
        self.out_convs = nn.ModuleList(nn.Identity() for _ in in_channels)
