import logging
from typing import Any, Literal

import cv2
import torch
from mmcv.transforms import LoadImageFromFile
from mmengine.logging import print_log

from mmmuse.errors import InputError
from mmmuse.registry import TRANSFORMS

Unreadable = Literal['refuse', 'skip']


@TRANSFORMS.register_module()
class LoadCheckedImage(LoadImageFromFile):
    """mmcv's ``LoadImageFromFile`` with a choice for images that cannot be read.

    Args:
        unreadable: ``refuse`` raises an error. ``skip`` logs the file, once per worker process,
            with the number skipped so far, and a training set loads another image instead. A test
            set raises an error in either case, because its metrics would change.
        **options: Those of mmcv's transform.

    Raises:
        InputError: If an image is missing or not an image, and is not to be skipped.
    """

    def __init__(self, unreadable: Unreadable = 'refuse', **options: Any) -> None:
        super().__init__(**options)
        self.unreadable = unreadable
        self._named: set[str] = set()
        self._skipped = torch.zeros((), dtype=torch.long).share_memory_()  # Shared by all workers.

    def transform(self, results: dict) -> dict | None:
        """Read ``results['img_path']``; None if it is skipped."""
        try:
            return super().transform(results)
        except (OSError, AssertionError, cv2.error) as error:
            why = 'not an image'
            if isinstance(error, OSError):
                missing = isinstance(error, FileNotFoundError)
                why = 'file not found' if missing else error.strerror or str(error)
            message = f'cannot read image {results["img_path"]}: {why}'
            if self.unreadable == 'refuse':
                raise InputError(message) from error
        if results['img_path'] not in self._named:
            self._named.add(results['img_path'])
            self._skipped += 1
            print_log(
                f'{message}; skipped, {int(self._skipped)} so far',
                logger='current',
                level=logging.WARNING,
            )
        return None
