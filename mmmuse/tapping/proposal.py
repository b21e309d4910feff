"""Propose a cut of a network into modules, from one forward."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import nn

from mmmuse.errors import InputError
from mmmuse.tapping.class_logits import ClassLogits, find_class_logits, find_pixel_logits
from mmmuse.tapping.dry_run import dry_run, is_detector, is_segmenter, random_image
from mmmuse.tapping.fixed_weights import fixed_weights
from mmmuse.tapping.forward_trace import ForwardTrace, TappableModule
from mmmuse.tapping.last_feature import last_feature
from mmmuse.tapping.logits_kind import LogitsKind, last_decode_head, logits_kind
from mmmuse.tapping.module_ends import module_ends


@dataclass(frozen=True)
class TapProposal:
    """A cut of a network: the taps for ``SelfDistiller`` and all modules that can be tapped.

    Attributes:
        modules: Paths of the T - 1 shallow modules.
        last: Path of the last feature's module.
        logits: Path of the class logits' module; None if there is none.
        tappable: Every module that can be tapped, in the order of the forward.
        total_params: Parameters of the student.
        input_shape: ``(C, H, W)`` of the image that was run.
        no_logits: Why there are no class logits; None if there are.
        num_classes: K of the logits; None without logits.
        kind: What the logits mean; see :func:`mmmuse.tapping.logits_kind.logits_kind`.
        of_pixels: Whether they are those of a segmenter.
    """

    modules: tuple[str, ...]
    last: str
    logits: str | None
    tappable: tuple[TappableModule, ...]
    total_params: int
    input_shape: tuple[int, ...]
    no_logits: str | None = None
    num_classes: int | None = None
    kind: LogitsKind = 'classes'
    of_pixels: bool = False


def propose_taps(
    student: nn.Module, num_modules: int = 4, input_shape: Sequence[int] | None = None
) -> TapProposal:
    """Propose a cut of a network into modules, for taps by name.

    The backbone is cut. A module ends before the resolution is reduced, and not inside the block that
    reduces it; the deepest ``num_modules`` resolutions are used (for ResNets: the four stages, as in
    the paper). If there are fewer, those with the most parameters are cut at block boundaries into
    parts of about equal parameters. The last feature is that of the backbone, or the one whose average
    is the classifier's input; see :func:`mmmuse.tapping.last_feature.last_feature`. The proposal does
    not depend on the weights.

    Args:
        student: An OpenMMLab classifier, detector or segmenter.
        num_modules: T, at least 2.
        input_shape: ``(C, H, W)`` of the image to run; by default chosen by
            :func:`mmmuse.tapping.dry_run.blank_image_shapes`.

    Raises:
        InputError: If the network cannot be cut into so many modules, or does not run.
    """
    if num_modules < 2:
        raise InputError(f'a network is cut into at least 2 modules, got num_modules={num_modules}')
    network, prefix, options = student, '', dict(mode='tensor')
    segments = is_segmenter(student)
    if is_detector(student) or segments:
        if not isinstance(getattr(student, 'backbone', None), nn.Module):
            raise InputError(f'{type(student).__name__} has no backbone to cut')
        network, prefix, options = student.backbone, 'backbone.', {}

    def observe(forward: Callable[[], object], shape: tuple[int, ...]) -> ForwardTrace:
        with fixed_weights(network):
            return ForwardTrace(network, forward, shape)

    trace = dry_run(network, observe, input_shape, make_image=random_image, of=student, **options)
    ends = module_ends(trace, num_modules)
    if len(ends) < num_modules:
        raise InputError(
            f'{type(student).__name__} can be cut into {len(ends)} modules at '
            f'most, not {num_modules}; name the modules to tap'
        )
    last = ends[-1].path
    if segments:
        logits = find_pixel_logits(student, trace.input_shape)
    else:
        logits = ClassLogits(None, f'{type(student).__name__} is a detector')
    if network is student:
        logits, last = find_class_logits(student, trace), last_feature(trace, ends[-1])
    tappable = tuple(replace(at, path=prefix + at.path) for at in trace.tappable())
    num_classes = None
    if logits.path is not None:
        shapes = {module.path: module.shape for module in tappable}
        num_classes = last_decode_head(student).out_channels if segments else shapes[logits.path][0]
    return TapProposal(
        modules=tuple(prefix + end.path for end in ends[-num_modules:-1]),
        last=prefix + last,
        logits=logits.path,
        tappable=tappable,
        total_params=sum(p.numel() for p in student.parameters()),
        input_shape=trace.input_shape,
        no_logits=logits.missing,
        num_classes=num_classes,
        kind=logits_kind(student),
        of_pixels=segments,
    )
