"""The class labels of a batch."""

import torch
from torch import Tensor

from mmmuse.errors import InputError


def class_labels(data_samples: list, reader: str) -> Tensor:
    """Return the class labels of N data samples, ``(N, )``.

    Args:
        data_samples: mmpretrain's, with ``gt_label``.
        reader: What asks, for the message.

    Raises:
        InputError: If a sample has no label or several.
    """
    labels = [data_sample.get('gt_label') for data_sample in data_samples]
    if any(label is None or label.numel() != 1 for label in labels):
        raise InputError(f'{reader} needs one class label (gt_label) for each image')
    return torch.cat([label.reshape(1) for label in labels])
