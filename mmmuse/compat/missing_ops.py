"""Warnings and errors where mmcv's compiled ops are missing."""

import logging
from functools import cache
from typing import NoReturn

import torch
from mmengine.logging import print_log

from mmmuse.errors import InputError

HOW_TO_BUILD = (
    "build mmcv's compiled ops, with torch installed, by pip install --no-build-isolation --no-cache-dir "
    '--force-reinstall --no-deps onedl-mmcv (FORCE_CUDA=1 where no GPU is seen)'
)


def refuse(what: str) -> NoReturn:
    """Raise an error: ``what`` needs a compiled op, and how to install it.

    Raises:
        InputError: Always.
    """
    raise InputError(f"{what} needs mmcv's compiled ops, which are not installed: {HOW_TO_BUILD}")


def warn_fallback() -> None:
    """Warn, once per process, that mmcv's compiled ops are replaced."""
    if not torch.compiler.is_compiling():
        _warn_once()


@cache
def _warn_once() -> None:
    print_log(
        "mmcv's compiled ops are not installed; mmmuse replaces those of plain detectors by "
        'torchvision and torch (nms, soft_nms, nms_match, roi_align, roi_pool, deform_conv2d and '
        'its modulated kind, the focal losses)',
        logger='current',
        level=logging.WARNING,
    )
