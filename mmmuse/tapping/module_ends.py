"""Where the modules end that a network is cut into."""

from collections.abc import Iterator
from itertools import groupby, pairwise
from operator import attrgetter

from torch import Tensor, nn

from mmmuse.tapping.forward_trace import ForwardTrace, ModuleCall

# A stage is divided if more than this share of its parameters works at other resolutions.
_OPEN_SHARE = 0.01
# A network inside a wrapper, or a container of stages, has more than this share of the parameters.
_WRAPPED_SHARE = 0.25
# A stem has less than this share of the parameters.
_STEM_SHARE = 0.001
# Of mmpretrain's classifiers and retrievers; what is after them is a neck and a head.
_BODIES = ('backbone', 'image_encoder')


def module_ends(trace: ForwardTrace, num_modules: int) -> list[ModuleCall]:
    """Return the calls that modules end with, of the backbone if the model has one.

    Args:
        trace: One forward.
        num_modules: How many are needed. There may be more: one for each resolution. If there are
            too few, the stem is a module as well, then blocks that reduce the resolution are
            divided, and then sequences of blocks.
    """
    body = next((trace.calls[name] for name in _BODIES if name in trace.calls), trace.root)
    for keeps_reducing, has_stem, divides in (
        *((True, False, False), (True, True, False)),
        *((False, True, False), (False, True, True)),
    ):
        segments = _segments(body, keeps_reducing)
        if not has_stem:
            segments = _without_stem(segments)
        ends = _ends(segments, body.params_before, num_modules, divides)
        if len(ends) >= num_modules:
            break
    return ends


def _children(body: ModuleCall) -> list[ModuleCall]:
    """Return the children of a body; those of a network that it wraps, or of a container of its stages, instead of these."""
    children = []
    for child in body.children:
        children += _children(child) if _has_stages(child, body) else [child]
    return children


def _has_stages(call: ModuleCall, body: ModuleCall) -> bool:
    """Whether a child of a body reduces the resolution in steps: a strided block has one, and a stem few parameters."""
    share = call.used_params / max(body.used_params, 1)
    branches = call.index is not None and share < 1 - _OPEN_SHARE  # One of several outputs.
    if share < _WRAPPED_SHARE or branches:
        return False
    grids = [part.grid for part in call.children if part.used_params and part.grid]
    if any(after > before for before, after in pairwise(grids)):
        return False
    return len(set(grids)) > 2 or any(_has_stages(child, call) for child in call.children)


def _spine(call: ModuleCall, keeps_reducing: bool) -> list[ModuleCall]:
    """Return the blocks of the main path in a call: stages, divided if their resolution is reduced."""
    if not call.children or _is_block(call, keeps_reducing):
        return [call]
    return [block for child in call.children for block in _spine(child, keeps_reducing)]


def _is_block(call: ModuleCall, keeps_reducing: bool) -> bool:
    """Whether a call is one block: nearly all of it works at one resolution.

    If the resolution increases again, the children are branches or gates, not a path. A block that reduces
    the resolution (one layer, then a layer with a stride) may also be kept whole.
    """
    if not call.can_tap or call.grid is None:
        return False
    if call.index is not None:  # Of several outputs: its children are not paths either.
        return True
    known = [child.grid for child in call.children if child.grid and child.used_params]
    if any(after > before for before, after in pairwise([*known, call.grid])):
        return True
    if _works_at_its_grid(call):
        return True
    elsewhere = [child for child in call.children if child.grid not in (None, call.grid)]
    return keeps_reducing and _is_before_one_reduction(elsewhere)


def _works_at_its_grid(call: ModuleCall) -> bool:
    """Whether nearly all parameters of a call are at the resolution of its output."""
    if not call.can_tap or call.grid is None:
        return False
    elsewhere = [child for child in call.children if child.grid not in (None, call.grid)]
    return sum(child.used_params for child in elsewhere) <= _OPEN_SHARE * call.used_params


def _is_before_one_reduction(calls: list[ModuleCall]) -> bool:
    """Whether calls are at one resolution, and each has one layer at most."""
    with_params = [call for call in calls if call.used_params]
    layers = [sum(p.ndim > 1 for p in call.module.parameters()) for call in with_params]
    return len({call.grid for call in with_params}) == 1 and max(layers) <= 1


def _segments(body: ModuleCall, keeps_reducing: bool) -> list[list[ModuleCall]]:
    """Return the blocks grouped by resolution; a group with hardly any parameters joins the last.

    A group ends with the block that the next group reads. Global pooling, and a norm after it, is
    omitted.
    """
    children = _children(body)
    if not children or (children == body.children and _works_at_its_grid(body)):
        spine = [body]
    else:
        spine = [call for child in children for call in _spine(child, keeps_reducing)]
    blocks = [
        call
        for call in spine
        if call.can_tap
        and call.grid
        and (call.grid != (1, 1) or call.used_params > _OPEN_SHARE * body.used_params)
    ]
    least = _STEM_SHARE * (blocks[-1].params_so_far - body.params_before) if blocks else 0
    segments: list[list[ModuleCall]] = []
    for _, group in groupby(blocks, key=attrgetter('grid')):
        calls = list(group)
        if segments and calls[-1].params_so_far - segments[-1][-1].params_so_far <= least:
            segments[-1] += calls
        else:
            segments.append(calls)
    for segment, following in pairwise(segments):
        first: dict[int, int] = {}
        for i, call in enumerate(segment):
            first.setdefault(id(call.tensor), i)
        read = [first[id(x)] for x in _input_tensors(following[0]) if id(x) in first]
        del segment[max(read, default=len(segment)) + 1 :]
    return segments


def _without_stem(segments: list[list[ModuleCall]]) -> list[list[ModuleCall]]:
    """Leave out the first modules up to a small share of the parameters: a convolution or two."""
    if not segments:
        return []
    least = _STEM_SHARE * segments[-1][-1].params_so_far
    return [segment for segment in segments if segment[-1].params_so_far > least]


def _input_tensors(call: ModuleCall) -> Iterator[Tensor]:
    for item in call.inputs:
        yield from item if isinstance(item, (list, tuple)) else (item,)


def _ends(
    segments: list[list[ModuleCall]], start: int, num_modules: int, divides: bool
) -> list[ModuleCall]:
    """Return the ends of the modules: the segments with the most parameters are cut into parts.

    Args:
        segments: The blocks of each resolution.
        start: Parameters that are used before the first.
        num_modules: How many ends are needed.
        divides: Whether sequences of blocks may be divided.
    """
    starts = [start, *(segment[-1].params_so_far for segment in segments[:-1])]
    blocks = [_blocks(*pair, divides) for pair in zip(segments, starts, strict=False)]
    sizes = [max(ends) - used for ends, used in zip(blocks, starts, strict=False)]
    parts = [1] * len(segments)
    while sum(parts) < num_modules:
        divisible = [i for i, ends in enumerate(blocks) if parts[i] < len(ends)]
        if not divisible:
            break
        parts[max(divisible, key=lambda i: sizes[i] / parts[i])] += 1
    return [
        end
        for cut in zip(segments, blocks, sizes, parts, strict=True)
        for end in _equal_parts(*cut)
    ]


def _blocks(segment: list[ModuleCall], start: int, divides: bool) -> dict[int, ModuleCall]:
    """Return the ends of a segment's blocks by the parameters used so far; a single stage is divided.

    A block without parameters is joined to the one before it, and a block to a wrapper that returns its output.
    """
    while len(segment) == 1:
        stage = segment[0]
        children = [c for c in stage.children if c.can_tap and c.grid == stage.grid]
        if not children:
            break
        # The stage's output is the end of its last block.
        segment = children + segment if len(children) > 1 else children
    if divides:
        segment = [part for call in segment for part in _in_sequence(call)]
    ends = {call.params_so_far: call for call in segment}
    last = {id(call.tensor): used for used, call in ends.items()}
    ends = {used: call for used, call in ends.items() if last[id(call.tensor)] == used}
    return {used: call for used, call in ends.items() if used > start} or ends


def _in_sequence(call: ModuleCall) -> list[ModuleCall]:
    """Return the blocks of a sequence at its resolution; the call itself if it is none, or a sequence of layers."""
    if not isinstance(call.module, nn.Sequential) or not all(
        part.children for part in call.children
    ):
        return [call]
    return [part for part in call.children if part.can_tap and part.grid == call.grid] or [call]


def _equal_parts(
    segment: list[ModuleCall], blocks: dict[int, ModuleCall], size: int, num_parts: int
) -> list[ModuleCall]:
    """Return the ends of parts of about equal parameters."""
    used, cuts = list(blocks), [-1]
    for part in range(1, num_parts):
        target = used[-1] - size * (1 - part / num_parts)
        cuts.append(
            min(
                range(cuts[-1] + 1, len(used) - num_parts + part),
                key=lambda i: abs(used[i] - target),
            )
        )
    return [*(blocks[used[i]] for i in cuts[1:]), segment[-1]]
