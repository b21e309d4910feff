"""The dense head of a single-stage detector: what is known of it, and one forward of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mmmuse.compat.compiling import not_compiled
from mmmuse.errors import InputError
from mmmuse.functional.precision import at_least_float32
from mmmuse.tapping.path_hooks import PathHooks

HEAD = 'bbox_head'
_TOWERS = ('cls_convs', 'reg_convs')
# Heads of mmdet that decode a box with their coder from its prior, as HeadPass.decoded does. A head has what it
# inherits: FoveaHead and RepPointsHead have a coder that they do not use, TOODHead decodes in its forward.
_DECODES = {'BaseDenseHead', 'PAAHead', 'ATSSVLFusionHead', 'CondInstBboxHead', 'RTMDetInsHead'}


@dataclass(frozen=True)
class HeadSpec:
    """What is known of a detector's dense head at build time.

    Attributes:
        kind: Name of its class.
        num_classes: Of the objects.
        strides: Of its levels, in pixels.
        num_anchors: Boxes that it predicts at a location.
        reg_max: Number of bins of a box side's distribution, minus 1; None if sides are numbers.
        towers: Channels after each convolution of the towers that are shared by the levels,
            ``cls_convs`` and ``reg_convs``; empty if it has none.
        decodes: Whether its boxes are known to be decoded by a box coder from priors.
        excludes: Whether its classes exclude each other: a softmax with the background.
        assigner: Class of what assigns anchors to objects.
    """

    kind: str
    num_classes: int
    strides: tuple[int, ...]
    num_anchors: int
    reg_max: int | None = None
    towers: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    decodes: bool = True
    excludes: bool = False
    assigner: str = ''

    @classmethod
    def of(cls, network: nn.Module) -> 'HeadSpec | None':
        """Return the spec of a network's ``bbox_head``; None if it is not a dense head."""
        head = getattr(network, HEAD, None)
        priors = getattr(head, 'prior_generator', None)
        known = hasattr(priors, 'strides') and hasattr(priors, 'num_base_priors')
        if not (known and hasattr(head, 'num_classes') and hasattr(network, 'extract_feat')):
            return None
        bins = getattr(head, 'reg_max', None) if hasattr(head, 'integral') else None
        towers = {name: _channels(getattr(head, name, ())) for name in _TOWERS}
        return cls(
            kind=type(head).__name__,
            num_classes=head.num_classes,
            strides=tuple(
                stride if isinstance(stride, int) else stride[0] for stride in priors.strides
            ),
            num_anchors=priors.num_base_priors[0],
            reg_max=bins,
            towers=towers if all(towers.values()) else {},
            decodes=hasattr(head, 'bbox_coder') and _decoding_class(head) in _DECODES,
            excludes=not getattr(head, 'use_sigmoid_cls', True),
            assigner=_assigner(getattr(head, 'assigner', None)),
        )


def _assigner(assigner: object) -> str:
    """Return the name of an assigner's class; of ATSS also whether scores weight its overlaps."""
    alpha = '(alpha=...)' if getattr(assigner, 'alpha', None) is not None else ''
    return type(assigner).__name__ + alpha


def _decoding_class(head: nn.Module) -> str | None:
    """Return the name of the class whose decoding a head has."""
    methods = {'predict_by_feat', '_predict_by_feat_single'}
    return next((kind.__name__ for kind in type(head).__mro__ if methods & vars(kind).keys()), None)


def _channels(tower: Sequence[nn.Module]) -> tuple[int, ...]:
    """Return the channels after each convolution; nothing if each level has its own."""
    channels = [getattr(layer, 'out_channels', None) for layer in tower]
    return tuple(channels) if all(isinstance(number, int) for number in channels) else ()


@dataclass
class HeadPass:
    """One forward of a dense head on the maps of N images.

    Attributes:
        module: The head.
        maps: Its inputs, one for each level.
        scores: Of each level, the logits of the classes ``(N, A C, H, W)``.
        boxes: Of each level, the boxes as the head codes them: ``(N, 4 A, H, W)``, or logits of
            the sides' distributions ``(N, 4 A B, H, W)``.
        inner: By the path of a module in the head, its output for each level.
    """

    module: nn.Module
    maps: tuple[Tensor, ...]
    scores: tuple[Tensor, ...]
    boxes: tuple[Tensor, ...]
    inner: dict[str, tuple[Tensor, ...]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, module: nn.Module, maps: Sequence[Tensor], outputs: Any, inner: dict | None = None
    ) -> 'HeadPass':
        """Read the outputs of a head.

        Raises:
            InputError: If they are not scores and boxes of each level.
        """
        if not (isinstance(outputs, (tuple, list)) and len(outputs) >= 2) or not all(
            isinstance(part, (tuple, list)) for part in outputs[:2]
        ):
            raise InputError(
                f'a {type(module).__name__} does not output the scores and boxes of each level'
            )
        return cls(module, tuple(maps), tuple(outputs[0]), tuple(outputs[1]), inner or {})

    @not_compiled  # It hooks modules.
    def run_with(self, inner: Mapping[str, Sequence[Tensor]]) -> 'HeadPass':
        """Run the head again, with other outputs of modules inside it.

        Args:
            inner: By the path of a module in the head, what takes the place of its output for each
                level. The head computes these outputs all the same, and drops them.
        """
        handles = []
        try:
            for path, outputs in inner.items():
                replace = partial(_next_of, iter(outputs))
                handles.append(self.module.get_submodule(path).register_forward_hook(replace))
            return HeadPass.of(self.module, self.maps, self.module(self.maps))
        finally:
            for handle in handles:
                handle.remove()

    def class_scores(self) -> Tensor:
        """Return the logits of all boxes' classes, ``(N, P, C)``, level by level."""
        return torch.cat([_of_boxes(level, self._outputs) for level in self.scores], 1)

    def confidence(self) -> Tensor:
        """Return the largest class probability of each box, ``(N, P)``, without gradient."""
        return at_least_float32(self.class_scores().detach()).sigmoid().amax(2)

    def sides(self, bins: int) -> Tensor:
        """Return the logits of the distributions of all boxes' sides, ``(N, P, 4, B)``."""
        levels = [_of_boxes(level, 4 * bins) for level in self.boxes]
        return torch.cat(levels, 1).unflatten(2, (4, bins))

    def decoded(self) -> Tensor:
        """Return the corners of all boxes in pixels, ``(N, P, 4)``."""
        sizes = [level.shape[2:] for level in self.boxes]
        first = self.boxes[0]
        priors = self.module.prior_generator.grid_priors(
            sizes, dtype=torch.float32, device=first.device
        )
        decoded = []
        for level, of_level in zip(self.boxes, priors, strict=True):
            coded = at_least_float32(_of_boxes(level, 4))
            repeated = of_level.expand(len(coded), *of_level.shape).flatten(0, 1)
            corners = self.module.bbox_coder.decode(repeated, coded.flatten(0, 1))
            decoded.append(corners.unflatten(0, coded.shape[:2]))
        return torch.cat(decoded, 1)

    def positives(self, data_samples: Sequence) -> Tensor:
        """Return which boxes the head's own assignment gives to an object, bool ``(N, P)``.

        Args:
            data_samples: N samples with ``gt_instances``, which are read.
        """
        metas = [sample.metainfo for sample in data_samples]
        ignored = [sample.get('ignored_instances') for sample in data_samples]
        sizes = [tuple(level.shape[2:]) for level in self.scores]
        head, device = self.module, self.scores[0].device
        anchors, valid = head.get_anchors(sizes, metas, device=device)
        _, labels, *_ = head.get_targets(
            anchors,
            valid,
            [sample.gt_instances for sample in data_samples],
            metas,
            batch_gt_instances_ignore=ignored,
        )
        labels = torch.cat(list(labels), 1)
        return (labels >= 0) & (labels < head.num_classes)

    @property
    def _outputs(self) -> int:
        """Scores of one box."""
        return getattr(self.module, 'cls_out_channels', self.module.num_classes)


def _next_of(outputs: Any, *_: Any) -> Tensor:
    """A forward hook that replaces a module's outputs by others, one after the other."""
    return next(outputs)


def _of_boxes(level: Tensor, values: int) -> Tensor:
    """Return a level's ``(N, A V, H, W)`` as the values of each box, ``(N, H W A, V)``."""
    return level.permute(0, 2, 3, 1).reshape(len(level), -1, values)


class HeadTaps:
    """Forward hooks that store one forward of a network's dense head.

    They are active only inside ``with taps:``, and reading empties them.

    Args:
        network: A single-stage detector.
        inner: Paths in the head of modules whose outputs are stored for each level.

    Raises:
        InputError: If a module does not exist, and, when the forward is read, if the head ran
            twice or not at all.
    """

    def __init__(self, network: nn.Module, inner: Sequence[str] = ()) -> None:
        self.inner = tuple(inner)
        self._active = False
        self._clear()
        hooks = {f'{HEAD}.{path}': partial(self._note_inner, path) for path in self.inner}
        self._hooks = PathHooks(network, {HEAD: self._note_head, **hooks})

    def __enter__(self) -> 'HeadTaps':
        self._clear()
        self._active = True
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._active = False
        self._clear()

    def __getstate__(self) -> dict:
        # A forward belongs to a step of this model; a copy starts empty.
        return {**self.__dict__, '_active': False, '_head': [], '_inner': self._nothing()}

    def follow(self, network: nn.Module) -> None:
        """Move the hooks to modules that have replaced others; see :class:`PathHooks`."""
        self._hooks.follow(network)

    def pop(self) -> HeadPass:
        """Return the forward just run, and forget it."""
        if len(self._head) != 1:
            raise InputError(
                f'{HEAD} ran {len(self._head)} times in one forward: its outputs are read once'
            )
        (module, maps, outputs), inner = self._head[0], self._inner
        self._clear()
        return HeadPass.of(
            module, maps, outputs, {path: tuple(maps) for path, maps in inner.items()}
        )

    def _nothing(self) -> dict[str, list[Tensor]]:
        return {path: [] for path in self.inner}

    def _clear(self) -> None:
        self._head: list[tuple] = []
        self._inner = self._nothing()

    def _note_head(self, module: nn.Module, args: tuple, output: Any) -> None:
        if self._active:
            self._head.append((module, args[0] if args else (), output))

    def _note_inner(self, path: str, module: nn.Module, args: tuple, output: Any) -> None:
        if self._active:
            self._inner[path].append(output)
