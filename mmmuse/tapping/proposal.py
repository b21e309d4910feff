"""Propose a cut of a network into modules, from one forward."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from operator import attrgetter

import torch
from torch import Tensor, nn

from mmmuse.errors import InputError
from mmmuse.functional import global_view
from mmmuse.tapping.dry_run import dry_run, is_detector
from mmmuse.tapping.forward_trace import ForwardTrace, ModuleCall, TappableModule

# A stage is divided if more than this share of its parameters works at other resolutions.
_OPEN_SHARE = 0.01


@dataclass(frozen=True)
class TapProposal:
    """A cut of a network: the taps for ``SelfDistiller`` and all modules that can be tapped.

    Attributes:
        modules: Paths of the T - 1 shallow modules.
        last: Path of the last feature's module.
        logits: Path of the class logits' module; None if none was found.
        tappable: Every module that can be tapped, in the order of the forward.
        total_params: Parameters of the student.
        input_shape: ``(C, H, W)`` of the image that was run.
    """

    modules: tuple[str, ...]
    last: str
    logits: str | None
    tappable: tuple[TappableModule, ...]
    total_params: int
    input_shape: tuple[int, ...]


def propose_taps(
    student: nn.Module, num_modules: int = 4, input_shape: Sequence[int] | None = None
) -> TapProposal:
    """Propose a cut of a network into modules, for taps by name.

    A module ends before the resolution is reduced; the deepest ``num_modules`` resolutions are used
    (for ResNets: the four stages, as in the paper). If there are fewer, those with the most
    parameters are cut at block boundaries into parts of about equal parameters. The last feature is
    the last map if the classifier's input is its average, otherwise the module that outputs the
    classifier's input. Of a detector of mmdet the backbone is cut.

    Args:
        student: An OpenMMLab classifier or detector.
        num_modules: T, at least 2.
        input_shape: ``(C, H, W)`` of the image to run; chosen if None.

    Raises:
        InputError: If the network cannot be cut into so many modules.
    """
    if num_modules < 2:
        raise InputError(f'a network is cut into at least 2 modules, got num_modules={num_modules}')
    network, prefix, options = student, '', dict(mode='tensor')
    if is_detector(student):
        network, prefix, options = student.backbone, 'backbone.', {}
    trace = dry_run(
        network,
        lambda forward, shape: ForwardTrace(network, forward, shape),
        input_shape,
        **options,
    )
    ends = _ends(_segments(trace), num_modules)
    if len(ends) < num_modules:
        raise InputError(
            f'{type(student).__name__} can be cut into {len(ends)} modules at '
            f'most, not {num_modules}; name the modules to tap'
        )
    ends = ends[-num_modules:]
    return TapProposal(
        modules=tuple(prefix + end for end in ends[:-1]),
        last=prefix + _last_feature(trace, ends[-1]),
        logits=trace.logits,
        tappable=tuple(replace(at, path=prefix + at.path) for at in trace.tappable()),
        total_params=sum(p.numel() for p in student.parameters()),
        input_shape=trace.input_shape,
    )


def _spine(call: ModuleCall) -> list[ModuleCall]:
    """Return the blocks of the main path in a call: stages, divided if their resolution is reduced.

    If it increases again, the children are branches or gates of one block, not a path.
    """
    grid = call.grid
    grids = [child.grid for child in call.children]
    elsewhere = sum(
        child.used_params for child, at in zip(call.children, grids, strict=True) if at != grid
    )
    known = [at for at in [*grids, grid] if at]
    branches = any(after > before for before, after in pairwise(known))
    closed = call.can_tap and grid is not None
    if not call.children or (closed and (branches or elsewhere <= _OPEN_SHARE * call.used_params)):
        return [call]
    return [block for child in call.children for block in _spine(child)]


def _segments(trace: ForwardTrace) -> list[list[ModuleCall]]:
    """Return the blocks grouped by resolution; a group without parameters is joined to the last.

    Global pooling, and a norm after it, is omitted.
    """
    total = sum(call.used_params for call in trace.root.children)
    blocks = [
        call
        for call in _spine(trace.root)
        if call.can_tap
        and call.grid
        and (call.grid != (1, 1) or call.used_params > _OPEN_SHARE * total)
    ]
    segments: list[list[ModuleCall]] = []
    for _, group in groupby(blocks, key=attrgetter('grid')):
        calls = list(group)
        if segments and not any(call.used_params for call in calls):
            segments[-1] += calls
        else:
            segments.append(calls)
    return segments


def _ends(segments: list[list[ModuleCall]], num_modules: int) -> list[str]:
    """Return the ends of the modules: the segments with the most parameters are cut into parts."""
    blocks = [_blocks(segment) for segment in segments]
    sizes = [
        max(ends) - segment[0].params_before for ends, segment in zip(blocks, segments, strict=True)
    ]
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


def _blocks(segment: list[ModuleCall]) -> dict[int, str]:
    """Return the ends of a segment's blocks by the parameters used so far; a single stage is divided.

    A block without parameters is joined to the one before it.
    """
    start = segment[0].params_before
    while len(segment) == 1:
        stage = segment[0]
        children = [c for c in stage.children if c.can_tap and c.grid == stage.grid]
        if not children:
            break
        # The stage's output is the end of its last block.
        segment = children + segment if len(children) > 1 else children
    ends = {call.params_so_far: call.path for call in segment}
    return {used: path for used, path in ends.items() if used > start} or ends


def _equal_parts(
    segment: list[ModuleCall], blocks: dict[int, str], size: int, num_parts: int
) -> list[str]:
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
    return [blocks[used[i]] for i in cuts[1:]] + [segment[-1].path]


def _last_feature(trace: ForwardTrace, last_map: str) -> str:
    """Return the last map's path, or that of the classifier's input if it is not the map's average."""
    classifiers = [
        call
        for call in trace.calls.values()
        if call.tensor is trace.output and isinstance(call.module, nn.Linear)
    ]
    if not classifiers or not isinstance(classifiers[0].inputs[0], Tensor):
        return last_map
    vector = classifiers[0].inputs[0]
    channels = trace.calls[last_map].spec.channels
    if vector.ndim != 2 or vector.shape[1] != channels:
        return last_map
    same = [
        path
        for path, call in trace.calls.items()
        if call.can_tap
        and call.spec.channels == channels
        and torch.allclose(global_view(call.tensor), vector, atol=1e-5)
    ]
    return last_map if last_map in same or not same else same[0]
