from typing import Literal

from mmmuse.arguments import Fraction, PositiveInt, check_keys
from mmmuse.errors import ArgumentError

_COUNTS = ('nms_pre', 'max_per_img')
_ALL = 10_000_000  # More boxes than an image has, of all anchors and classes.
_TEST_CFG = dict(score_thr=Fraction, nms=dict, **dict.fromkeys(_COUNTS, PositiveInt))
_NMS = {'type': Literal['nms', 'soft_nms'], 'iou_threshold': Fraction}  # mmcv evaluates the type.


def check_test_cfg(test_cfg: dict | None) -> None:
    """Check the keys of a dense head's ``test_cfg``.

    Raises:
        InputError: If a value is of another type or out of its range. So is -1 as a number of boxes: other parts of mmdet
            keep all boxes then, and its dense heads all but one.
    """
    test_cfg = test_cfg or {}
    for key in _COUNTS:
        if test_cfg.get(key) == -1:
            fault = f'a positive integer, got -1, for which mmdet drops one box; set {_ALL} to keep all boxes'
            raise ArgumentError('test_cfg', key, -1, fault)
    check_keys('test_cfg', test_cfg, _TEST_CFG)
    check_keys('test_cfg.nms', test_cfg.get('nms', {}), _NMS)
