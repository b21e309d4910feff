from typing import Literal

from mmmuse.arguments import Fraction, PositiveInt, check_keys

_COUNT = PositiveInt | Literal[-1]
_TEST_CFG = dict(score_thr=Fraction, nms_pre=_COUNT, nms=dict, max_per_img=_COUNT)
_NMS = {'type': Literal['nms', 'soft_nms'], 'iou_threshold': Fraction}  # mmcv evaluates the type.


def check_test_cfg(test_cfg: dict | None) -> None:
    """Check the keys of a dense head's ``test_cfg``.

    Raises:
        InputError: If a value is of another type or out of its range.
    """
    test_cfg = test_cfg or {}
    check_keys('test_cfg', test_cfg, _TEST_CFG)
    check_keys('test_cfg.nms', test_cfg.get('nms', {}), _NMS)
