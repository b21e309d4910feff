"""Warnings and errors where mmcv's compiled ops are missing."""

import logging
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import NoReturn

from mmengine.logging import print_log

from mmmuse.compat.compiling import is_compiling
from mmmuse.errors import InputError

_FORK = (
    'build them, with torch installed, by pip install --no-build-isolation --no-cache-dir '
    '--force-reinstall --no-deps onedl-mmcv (FORCE_CUDA=1 where no GPU is seen)'
)
_ORIGINAL = (
    'install them by pip uninstall mmcv-lite; pip install openmim; mim install mmcv=={version}, which has '
    'binaries for PyTorch 2.1 and builds them for others'
)


def how_to_install() -> str:
    """Return how to get the ops of the mmcv that is installed: the maintained fork or OpenMMLab's own."""
    for name in ('mmcv-lite', 'mmcv'):
        with suppress(PackageNotFoundError):
            return _ORIGINAL.format(version=version(name))
    return _FORK


def refuse(what: str) -> NoReturn:
    """Raise an error: ``what`` needs a compiled op, and how to install it.

    Raises:
        InputError: Always.
    """
    raise InputError(
        f"{what} needs mmcv's compiled ops, which are not installed: {how_to_install()}"
    )


def warn_fallback() -> None:
    """Warn, once per process, that mmcv's compiled ops are replaced."""
    if not is_compiling():
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
