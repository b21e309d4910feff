"""Propose how to cut a network into modules, from one forward of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, pairwise

import torch
from torch import Tensor, nn

from mmmuse.errors import InputError
from mmmuse.functional import global_view
from mmmuse.tapping.dry_run import dry_run, is_detector
from mmmuse.tapping.features import FeatureSpec

# A stage is opened up when more than this share of its parameters works at other resolutions.
_OPEN_SHARE = 0.01


@dataclass(frozen=True)
class TappableModule:
    """A module whose output can be tapped.

    Attributes:
        path: Module path in the student.
        shape: Output shape without the batch.
        spec: Its channels and grid.
        stride: Input height over grid height; None for a vector.
        params: Parameters in the module.
        params_so_far: Parameters used when its output is ready.
        falls: Whether the resolution is lower than at the module before.
    """

    path: str
    shape: tuple[int, ...]
    spec: FeatureSpec
    stride: float | None
    params: int
    params_so_far: int
    falls: bool


@dataclass(frozen=True)
class TapProposal:
    """A cut of a network: the taps for ``SelfDistiller`` and what they were chosen from.

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

    A module ends where the resolution is about to fall; the deepest
    ``num_modules`` resolutions are taken (for ResNets: the four stages, as in
    the paper). Where there are fewer, those with the most parameters are cut at
    block boundaries into parts of about equal parameters. The last feature is
    the last map if its average is what goes into the classifier, else the
    module that puts that vector out. Of a detector of mmdet the backbone is cut.

    Args:
        student: An OpenMMLab classifier or detector.
        num_modules: T, at least 2.
        input_shape: ``(C, H, W)`` of the image to run; chosen if None.

    Raises:
        InputError: If the network has too few places to cut.
    """
    if num_modules < 2:
        raise InputError(f'a network is cut into at least 2 modules, got num_modules={num_modules}')
    network, prefix, options = student, '', dict(mode='tensor')
    if is_detector(student):
        network, prefix, options = student.backbone, 'backbone.', {}
    trace = dry_run(
        network, lambda forward, shape: _Trace(network, forward, shape), input_shape, **options
    )
    ends = _ends(_segments(trace), num_modules, trace)
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


@dataclass
class _Call:
    path: str
    module: nn.Module
    params_before: int
    parent: '_Call | None'
    children: list['_Call'] = field(default_factory=list)
    inputs: tuple = ()
    tensor: Tensor | None = None
    version: int = 0
    params_so_far: int = 0
    runs: int = 1

    @property
    def used_params(self) -> int:
        return self.params_so_far - self.params_before


class _Trace:
    """Every module's call in one forward, in the order in which they finish."""

    def __init__(self, model: nn.Module, forward, input_shape: tuple[int, ...]) -> None:
        self.input_shape = input_shape
        self.root = _Call('', model, 0, None)
        self.calls: dict[str, _Call] = {}
        self._stack = [self.root]
        self._counted: set[nn.Module] = set()
        self._params = 0
        handles = []
        for path, module in model.named_modules():
            if path:
                handles += [
                    module.register_forward_pre_hook(self._enter(path)),
                    module.register_forward_hook(self._leave(path)),
                ]
        try:
            self.output = _one_tensor(forward())
        finally:
            for handle in handles:
                handle.remove()
        self.logits = self._find_logits()

    def _enter(self, path: str):

        def hook(module: nn.Module, args: tuple) -> None:
            call = _Call(path, module, self._params, self._stack[-1], inputs=args)
            self._stack.append(call)

        return hook

    def _leave(self, path: str):

        def hook(module: nn.Module, args: tuple, output: object) -> None:
            call = self._stack.pop()
            if module not in self._counted:
                self._counted.add(module)
                self._params += sum(p.numel() for p in module.parameters(recurse=False))
            call.params_so_far = self._params
            call.tensor = _one_tensor(output)
            if call.tensor is not None:
                call.version = call.tensor._version
            if path in self.calls:
                self.calls[path].runs += 1
            else:
                self.calls[path] = call
                call.parent.children.append(call)

        return hook

    def can_tap(self, call: _Call) -> bool:
        tensor = call.tensor
        return (
            call.runs == 1
            and tensor is not None
            and 2 <= tensor.ndim <= 4
            and len(tensor) == 1
            and tensor._version == call.version
        )

    def grid(self, call: _Call) -> tuple[int, int] | None:
        if call.tensor is None or not 2 <= call.tensor.ndim <= 4 or len(call.tensor) != 1:
            return None
        return FeatureSpec.of(call.tensor.shape).grid

    def tappable(self) -> tuple[TappableModule, ...]:
        modules, height = [], self.input_shape[-2]
        for call in self.calls.values():
            if not self.can_tap(call):
                continue
            spec = FeatureSpec.of(call.tensor.shape)
            modules.append(
                TappableModule(
                    call.path,
                    tuple(call.tensor.shape[1:]),
                    spec,
                    self.input_shape[-2] / spec.grid[0] if spec.grid else None,
                    sum(p.numel() for p in call.module.parameters()),
                    call.params_so_far,
                    falls=bool(spec.grid) and spec.grid[0] < height,
                )
            )
            height = min(height, spec.grid[0]) if spec.grid else height
        return tuple(modules)

    def _find_logits(self) -> str | None:
        if self.output is None or self.output.ndim != 2:
            return None
        paths = [
            path
            for path, call in self.calls.items()
            if call.tensor is self.output and call.runs == 1
        ]
        return min(paths, key=lambda path: path.count('.'), default=None)


def _one_tensor(output: object) -> Tensor | None:
    if isinstance(output, Tensor):
        return output
    if isinstance(output, (tuple, list)):
        tensors = [item for item in output if isinstance(item, Tensor)]
        return tensors[0] if len(tensors) == 1 else None
    return None


def _spine(call: _Call, trace: _Trace) -> list[_Call]:
    """Return the blocks of the main path below a call: stages, opened up where resolution falls.

    Where it rises again, the children are branches or gates of one block, not a path.
    """
    grid = trace.grid(call)
    grids = [trace.grid(child) for child in call.children]
    elsewhere = sum(child.used_params for child, at in zip(call.children, grids) if at != grid)
    known = [at for at in [*grids, grid] if at]
    branches = any(after > before for before, after in pairwise(known))
    closed = trace.can_tap(call) and grid is not None
    if not call.children or (closed and (branches or elsewhere <= _OPEN_SHARE * call.used_params)):
        return [call]
    return [block for child in call.children for block in _spine(child, trace)]


def _segments(trace: _Trace) -> list[list[str]]:
    """Return the spine's paths grouped by resolution; a group without parameters joins the last.

    Global pooling, and a norm behind it, is left out.
    """
    total = sum(call.used_params for call in trace.root.children)
    blocks = [
        call
        for call in _spine(trace.root, trace)
        if trace.can_tap(call)
        and trace.grid(call)
        and (trace.grid(call) != (1, 1) or call.used_params > _OPEN_SHARE * total)
    ]
    segments: list[list[str]] = []
    for _, group in groupby(blocks, key=trace.grid):
        calls = list(group)
        if segments and not any(call.used_params for call in calls):
            segments[-1] += [call.path for call in calls]
        else:
            segments.append([call.path for call in calls])
    return segments


def _ends(segments: list[list[str]], num_modules: int, trace: _Trace) -> list[str]:
    """Return where the modules end: the segments with the most parameters are cut into parts."""
    blocks = [_blocks(segment, trace) for segment in segments]
    sizes = [
        max(ends) - trace.calls[segment[0]].params_before for ends, segment in zip(blocks, segments)
    ]
    parts = [1] * len(segments)
    while sum(parts) < num_modules:
        divisible = [i for i, ends in enumerate(blocks) if parts[i] < len(ends)]
        if not divisible:
            break
        parts[max(divisible, key=lambda i: sizes[i] / parts[i])] += 1
    return [end for cut in zip(segments, blocks, sizes, parts) for end in _equal_parts(*cut)]


def _blocks(segment: list[str], trace: _Trace) -> dict[int, str]:
    """Return the ends of a segment's blocks by the parameters used so far; a lone stage is opened.

    A block without parameters ends the one before it.
    """
    start = trace.calls[segment[0]].params_before
    while len(segment) == 1:
        call = trace.calls[segment[0]]
        children = [
            child.path
            for child in call.children
            if trace.can_tap(child) and trace.grid(child) == trace.grid(call)
        ]
        if not children:
            break
        # The stage's own output closes its last block.
        segment = children + segment if len(children) > 1 else children
    ends = {trace.calls[path].params_so_far: path for path in segment}
    return {used: path for used, path in ends.items() if used > start} or ends


def _equal_parts(
    segment: list[str], blocks: dict[int, str], size: int, num_parts: int
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
    return [blocks[used[i]] for i in cuts[1:]] + segment[-1:]


def _last_feature(trace: _Trace, last_map: str) -> str:
    """Return the last map's path, or that of the vector the classifier reads, if they differ."""
    classifiers = [
        call
        for call in trace.calls.values()
        if call.tensor is trace.output and isinstance(call.module, nn.Linear)
    ]
    if not classifiers or not isinstance(classifiers[0].inputs[0], Tensor):
        return last_map
    vector = classifiers[0].inputs[0]
    feature = trace.calls[last_map].tensor
    channels = FeatureSpec.of(feature.shape).channels
    if vector.ndim != 2 or vector.shape[1] != channels:
        return last_map
    same = [
        path
        for path, call in trace.calls.items()
        if trace.can_tap(call)
        and FeatureSpec.of(call.tensor.shape).channels == channels
        and torch.allclose(global_view(call.tensor), vector, atol=1e-5)
    ]
    return last_map if last_map in same or not same else same[0]
