"""The module whose output is the class logits, or the reason why there is none."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import nn

from .dry_run import dry_run
from .forward_trace import ForwardTrace
from .logits_kind import shifted_logits


class ClassLogits(NamedTuple):
    """Path of the class logits' module; None if there is none, with the reason."""

    path: str | None
    missing: str | None = None


def find_class_logits(model: nn.Module, trace: ForwardTrace) -> ClassLogits:
    """Find the class logits of a classifier.

    If the model has a head, they are its output. Otherwise, they are the output of the model.

    Args:
        model: The classifier.
        trace: Its forward.
    """
    kind = type(model).__name__
    if not hasattr(model, 'head'):
        paths = [
            call.name
            for call in trace.calls.values()
            if call.runs == 1 and call.outputs.get(None) is trace.output is not None
        ]
        if not paths or trace.output.ndim != 2:
            return ClassLogits(None, f'the output of {kind} is not the (N, K) output of a module')
        return ClassLogits(min(paths, key=lambda path: path.count('.')))
    if model.head is None:
        return ClassLogits(None, f'{kind} has no head: its output is a feature')
    head = type(model.head).__name__
    call = trace.calls.get('head')
    if call is None:
        return ClassLogits(None, f"{kind} does not run its head in mode='tensor'")
    logits = call.outputs.get(None)
    if logits is None or logits.ndim != 2:
        return ClassLogits(None, f'{head} does not output one tensor (N, K)')
    if any(base.__name__ == 'RegressionHead' for base in type(model.head).__mro__):
        return ClassLogits(None, f'{head} outputs values and no class logits')
    fault = shifted_logits(model.head)
    return ClassLogits(None, f'{head} {fault}') if fault else ClassLogits('head')


def find_pixel_logits(segmenter: nn.Module, input_shape: Sequence[int]) -> ClassLogits:
    """Find the logits of each pixel of a segmenter: the outermost module that has its output.

    Args:
        segmenter: Of mmseg.
        input_shape: ``(C, H, W)`` of the image to run.
    """
    trace = dry_run(
        segmenter,
        lambda forward, shape: ForwardTrace(segmenter, forward, shape),
        input_shape,
        mode='tensor',
    )
    paths = [
        call.name
        for call in trace.calls.values()
        if call.runs == 1 and call.outputs.get(None) is trace.output is not None
    ]
    if not paths:
        heads = f'the decode head of {type(segmenter).__name__}'
        return ClassLogits(None, f'the output of {heads} is not that of a module')
    return ClassLogits(min(paths, key=lambda path: path.count('.')))
