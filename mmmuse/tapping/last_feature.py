"""The module whose output is the last feature of a classifier."""

from torch import Tensor, nn

from mmmuse.functional import global_view
from mmmuse.tapping.forward_trace import ForwardTrace, ModuleCall


def last_feature(trace: ForwardTrace, last: ModuleCall) -> str:
    """Return the tap path of the last feature, whose average over its locations the classifier reads.

    The weights have to be those of :func:`mmmuse.tapping.fixed_weights.fixed_weights`: equal features are
    then the same feature.

    Args:
        trace: The forward.
        last: The last map or tokens of the backbone.

    Returns:
        That of ``last`` if its average is the input of the classifier; otherwise the first
        module, outside the head, whose output is (the class token), or has it as its average
        (a map of the neck). If there is none (a classifier of several layers): that of ``last``.
    """
    vector = _classifier_input(trace)
    if vector is None:
        return last.path
    same = [call for call in trace.calls.values() if _is_averaged_to(call, vector)]
    of_width = [call for call in same if call.channels == last.channels]
    maps = [call for call in same if call.grid and call.grid != (1, 1)]
    if last in same or not (of_width or maps):
        return last.path
    first = (of_width or maps)[0]
    # Of a layer and its last part, which output one tensor: the layer.
    return min((call.path for call in same if call.tensor is first.tensor), key=len)


def _classifier_input(trace: ForwardTrace) -> Tensor | None:
    """Return the input ``(1, C)`` of the linear layer whose output is the model's."""
    for call in trace.calls.values():
        output = call.outputs.get(None)
        if output is not None and output is trace.output and isinstance(call.module, nn.Linear):
            vector = call.inputs[0] if call.inputs else None
            if isinstance(vector, Tensor) and vector.ndim == 2:
                return vector
    return None


def _is_averaged_to(call: ModuleCall, vector: Tensor) -> bool:
    if not call.can_tap or call.channels != vector.shape[1] or call.name.split('.')[0] == 'head':
        return False
    difference = (global_view(call.tensor) - vector).abs().max()
    return bool(difference <= 1e-4 * vector.abs().max())
