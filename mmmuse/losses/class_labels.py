"""The class labels of a batch."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmmuse.errors import InputError


def class_labels(data_samples: Sequence, reader: str) -> Tensor:
    """Return the class labels of N data samples, ``(N, )``.

    Args:
        data_samples: mmpretrain's, with ``gt_label``.
        reader: What asks, for the message.

    Raises:
        InputError: If a sample has no label or several, or mixed ones; see
            :func:`refuse_mixed_labels`.
    """
    labels = single_labels(data_samples, reader)
    refuse_mixed_labels(data_samples, reader)
    return labels


def single_labels(data_samples: Sequence, reader: str) -> Tensor:
    """Return the class labels of N data samples that are known not to be mixed, ``(N, )``.

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


def refuse_mixed_labels(data_samples: Sequence, reader: str) -> None:
    """Refuse images that an augmentation has mixed: they have no single class.

    Mixup and CutMix leave ``gt_label`` as it was and write the mixture into ``gt_score``.

    Args:
        data_samples: mmpretrain's.
        reader: What needs single images or classes, for the message.

    Raises:
        InputError: If the scores of an image are not 1 for its label and 0 for all other classes.
    """
    # Looking at scores on a GPU waits for it, once a batch. Only mmpretrain's preprocessor with
    # batch_augments or to_onehot writes them.
    scored = [sample for sample in data_samples if 'gt_score' in sample]
    if not scored:
        return
    scores = torch.stack([sample.gt_score for sample in scored]).detach().float().cpu()
    wrong = (scores.sort(1).values != _one_hot(scores.shape[1])).any(1)
    labels = [sample.get('gt_label') for sample in scored]
    if all(label is not None and label.numel() == 1 for label in labels):
        wrong |= scores.argmax(1) != torch.cat([label.reshape(1).cpu() for label in labels])
    if wrong.any():
        values = ', '.join(f'{value:.2f}' for value in scores[wrong][0].sort().values[-2:].tolist())
        raise InputError(
            f'{reader} needs images of one class, and gt_score of an image is not 1 for its label '
            f'and 0 for other classes (largest values {values}): remove Mixup, CutMix and the like '
            '(data_preprocessor.batch_augments), or choose another loss'
        )


def _one_hot(num_classes: int) -> Tensor:
    """Return sorted one-hot scores, ``(K, )``."""
    return torch.tensor([0.0] * (num_classes - 1) + [1.0])
