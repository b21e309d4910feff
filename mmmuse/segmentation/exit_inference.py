"""Masks of a segmenter and its exits from one pass, with mmseg's own inference."""

from copy import copy
from typing import Any

import torch
from torch import Tensor, nn


def predict_with_exits(distiller: Any, inputs: Tensor, data_samples: list | None) -> list:
    """Return the student's predictions with the exits' masks and logits.

    mmseg cuts an image into windows (``test_cfg.mode='slide'``), adds their logits, removes the
    padding and resizes. All of it is done for the exits too: their logits stand behind
    those of the student as more channels until the images are complete.

    Args:
        distiller: A :class:`SegmentationSelfDistiller`.
        inputs: ``(N, C, H, W)``, normalized.
        data_samples: N samples, or None.

    Returns:
        N samples with ``exit1_sem_seg`` (the mask) and ``exit1_logits``, ...
    """
    student = distiller.student
    encode_decode, postprocess = student.encode_decode, student.postprocess_result
    channels = student.out_channels

    def joined(images: Tensor, metas: list[dict]) -> Tensor:
        return torch.cat(distiller.all_logits(images, metas, encode_decode), 1)

    def separated(logits: Tensor, samples: list | None) -> list:
        last, *of_exits = logits.split(channels, 1)
        masks = []
        for of_exit in of_exits:
            copies = None if samples is None else [sample.new() for sample in samples]
            masks.append(postprocess(of_exit, copies))
        predictions = postprocess(last, samples)
        for number, of_exit in zip(distiller.exit_modules, masks, strict=True):
            for sample, mask in zip(predictions, of_exit, strict=True):
                sample.set_field(mask.pred_sem_seg, f'exit{number}_sem_seg')
                sample.set_field(mask.seg_logits, f'exit{number}_logits')
        return predictions

    changed = with_attributes(
        student,
        encode_decode=joined,
        postprocess_result=separated,
        out_channels=channels * (1 + len(distiller.exits)),
    )
    return changed.predict(inputs, data_samples)


def with_attributes(network: nn.Module, **attributes: Any) -> nn.Module:
    """Return a shallow copy of a network with other attributes: its modules are the same ones.

    The network itself does not change, so that other threads can use it.
    """
    changed = copy(network)
    vars(changed).update(attributes)
    return changed
