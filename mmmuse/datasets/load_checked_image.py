"""Load an image file after a look at its header."""

import logging
from typing import Any, Literal

import cv2
import torch
from mmcv.transforms import LoadImageFromFile
from mmengine.logging import print_log
from mmengine.registry import TRANSFORMS as ROOT_TRANSFORMS

from mmmuse.arguments import PositiveInt
from mmmuse.errors import InputError
from mmmuse.registry import TRANSFORMS

from .image_header import MAX_PIXELS, why_no_image

Unreadable = Literal['refuse', 'skip']


@TRANSFORMS.register_module()
class LoadCheckedImage(LoadImageFromFile):
    """mmcv's ``LoadImageFromFile`` with a choice for images that cannot be read.

    Args:
        unreadable: ``refuse`` raises an error. ``skip`` logs the file, once per worker process,
            with the number skipped so far, and a training set loads another image instead. A test
            set raises an error in either case, because its metrics would change.
        max_pixels: Largest height times width; the header of a local file is read before the
            image is decoded.
        **options: Those of mmcv's transform.

    Raises:
        InputError: If an image is missing, too large or not an image, and is not to be skipped.
    """

    def __init__(
        self,
        unreadable: Unreadable = 'refuse',
        max_pixels: PositiveInt = MAX_PIXELS,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.unreadable = unreadable
        self.max_pixels = max_pixels
        self._named: set[str] = set()
        self._skipped = torch.zeros((), dtype=torch.long).share_memory_()  # Shared by all workers.

    def transform(self, results: dict) -> dict | None:
        """Read ``results['img_path']``; None if it is skipped."""
        path = results['img_path']
        try:
            is_local = not (self.backend_args or self.file_client_args or '://' in str(path))
            why = why_no_image(path, self.max_pixels) if is_local else None
            if why is None:
                return super().transform(results)
            if self.ignore_empty:
                return None
        except OSError as error:
            why = error.strerror or str(error)
        except (AssertionError, cv2.error):
            why = 'not an image'
        message = f'cannot read image {path}: {why}'
        if self.unreadable == 'refuse':
            raise InputError(message)
        if results['img_path'] not in self._named:
            self._named.add(results['img_path'])
            self._skipped += 1
            print_log(
                f'{message}; skipped, {int(self._skipped)} so far',
                logger='current',
                level=logging.WARNING,
            )
        return None


def check_loaded_images() -> None:
    """Make ``LoadImageFromFile`` of any config a :class:`LoadCheckedImage`, in this process.

    The pipelines of mmpretrain's and mmdet's configs, which many configs inherit, then refuse an
    image that is too large, and accept ``max_pixels``. Every tool that reads images calls it.
    """
    name = 'LoadImageFromFile'
    # mmpretrain has it in its own registry as well.
    for registry in (ROOT_TRANSFORMS, *ROOT_TRANSFORMS.children.values()):
        if registry is ROOT_TRANSFORMS or name in registry.module_dict:
            registry.register_module(name=name, module=LoadCheckedImage, force=True)
