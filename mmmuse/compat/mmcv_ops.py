"""The ops of plain detectors under the signatures of ``mmcv._ext``, one family of ops per file.

Python imports this file as ``mmcv._ext`` where mmcv was installed without its
compiled ops (:func:`mmmuse.compat.stand_in_for_mmcv_ops`). mmcv allocates the tensors that an
op fills. Any other op can be imported, and raises when called.
"""

from collections.abc import Callable
from typing import Any, NoReturn

from mmmuse.compat.deform_conv import (
    deform_conv_backward_input,
    deform_conv_backward_parameters,
    deform_conv_forward,
)
from mmmuse.compat.focal_loss import (
    sigmoid_focal_loss_backward,
    sigmoid_focal_loss_forward,
    softmax_focal_loss_backward,
    softmax_focal_loss_forward,
)
from mmmuse.compat.missing_ops import refuse
from mmmuse.compat.modulated_deform_conv import (
    modulated_deform_conv_backward,
    modulated_deform_conv_forward,
)
from mmmuse.compat.nms import nms, nms_match, softnms
from mmmuse.compat.roi_align import roi_align_backward, roi_align_forward
from mmmuse.compat.roi_pool import roi_pool_backward, roi_pool_forward

__all__ = [
    'deform_conv_backward_input',
    'deform_conv_backward_parameters',
    'deform_conv_forward',
    'get_compiler_version',
    'get_compiling_cuda_version',
    'modulated_deform_conv_backward',
    'modulated_deform_conv_forward',
    'nms',
    'nms_match',
    'roi_align_backward',
    'roi_align_forward',
    'roi_pool_backward',
    'roi_pool_forward',
    'sigmoid_focal_loss_backward',
    'sigmoid_focal_loss_forward',
    'softmax_focal_loss_backward',
    'softmax_focal_loss_forward',
    'softnms',
]


def __getattr__(name: str) -> Callable[..., NoReturn]:
    if name.startswith('_') or __name__ != 'mmcv._ext':
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')

    def missing(*args: Any, **kwargs: Any) -> NoReturn:
        refuse(name)

    return missing


def get_compiler_version() -> str:
    """What ``mmcv.utils.collect_env`` reports."""
    return 'n/a'


get_compiling_cuda_version = get_compiler_version
