"""What is said where mmcv's compiled ops are missing."""

import logging
from functools import cache
from typing import NoReturn

import torch
from mmengine.logging import print_log

from mmmuse.errors import InputError

HOW_TO_BUILD = (
    "build mmcv's compiled ops, beside torch, with pip install --no-build-isolation --no-cache-dir "
    '--force-reinstall --no-deps onedl-mmcv (FORCE_CUDA=1 where no GPU is seen)'
)


def refuse(what: str) -> NoReturn:
    """Raise that ``what`` has no stand-in, and how to get the real op.

    Raises:
        InputError: Always.
    """
    raise InputError(f'{what} needs what is not installed: {HOW_TO_BUILD}')


def say_so() -> None:
    """Warn, once in a process, that an op is a stand-in."""
    if not torch.compiler.is_compiling():
        _say_so_once()


@cache
def _say_so_once() -> None:
    print_log(
        "mmcv's compiled ops are not installed; mmmuse stands in for those of plain detectors with "
        'torchvision and torch (nms, soft_nms, nms_match, roi_align, roi_pool, deform_conv2d and '
        'its modulated kind, the focal losses)',
        logger='current',
        level=logging.WARNING,
    )
