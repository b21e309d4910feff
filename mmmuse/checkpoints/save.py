import io
from pathlib import Path
from typing import Any

import torch

from .synced_write import write_synced


def checkpoint_bytes(content: Any) -> bytes:
    """Return the content of the file that ``torch.save`` writes."""
    with io.BytesIO() as file:
        torch.save(content, file)
        return file.getvalue()


def save_synced(content: Any, path: str | Path) -> None:
    """Write a checkpoint with :func:`mmmuse.checkpoints.synced_write.write_synced`.

    ``torch.save`` to a path has an error of its own where the disk is full.
    """
    write_synced(path, checkpoint_bytes(content))
