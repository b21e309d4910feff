"""Feature taps: the outputs of named modules during one forward."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from mmmuse.compat.compiling import is_compiling
from mmmuse.errors import InputError
from mmmuse.tapping.features import DistillFeatures
from mmmuse.tapping.gradient_check import refuse_cut_gradients
from mmmuse.tapping.logits_kind import logits_kind
from mmmuse.tapping.path_hooks import PathHooks, split_index
from mmmuse.tapping.tap_paths import (
    TapPaths,
    check_logits,
    check_order,
    infer_specs,
    network_specs,
    read_taps,
)
from mmmuse.tapping.token_maps import with_grids


class FeatureTaps:
    """Forward hooks that store the outputs of named modules.

    The hooks are registered once, before DDP or ``torch.compile`` wraps the model, and are active
    only inside ``with taps:``. Reading empties the store, so that no graph outlives the step. A deep
    copy of the model (an EMA) has its own copy of the taps.

    Args:
        model: The module whose submodules are tapped.
        paths: Module paths, e.g. ``['backbone.layer1', 'head']``. An index selects one of
            several output tensors: ``'neck[0]'``.

    Raises:
        InputError: If a path does not exist or is given twice, and, when the features are read, if
            a module ran twice or not at all, or its output is not a tensor or was changed in place.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
        >>> taps = FeatureTaps(model, ['0'])
        >>> with taps:
        ...     _ = model(torch.zeros(5, 4))
        ...     features = taps.pop()
        >>> features['0'].shape
        torch.Size([5, 3])
    """

    def __init__(self, model: nn.Module, paths: Iterable[str]) -> None:
        self.paths = tuple(paths)
        self._active = False
        self._captured: dict[str, tuple[Tensor, int | None]] = {}
        for path in self.paths:
            if self.paths.count(path) > 1:
                raise InputError(f'module {path!r} is tapped twice')
        self._hooks = PathHooks(model, {path: partial(self._hook, path) for path in self.paths})

    def __enter__(self) -> 'FeatureTaps':
        if self._active:
            raise InputError(
                'the feature taps are already active: a forward with taps must not be nested '
                'in another one'
            )
        self._captured.clear()
        self._active = True
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._active = False
        self._captured.clear()

    def __getstate__(self) -> dict:
        # Features belong to a step of this model; a copy starts empty.
        return {**self.__dict__, '_active': False, '_captured': {}}

    @property
    def reached(self) -> tuple[str, ...]:
        """The paths that the forward has reached so far, in order."""
        return tuple(self._captured)

    def pop(self) -> dict[str, Tensor]:
        """Return the features of the forward just run and forget them.

        Returns:
            Tensors by tap path, in the order in which the paths were given.

        Raises:
            InputError: If a tapped module never ran, or its output was changed
                in place after it was tapped.
        """
        features = {}
        for path in self.paths:
            if path not in self._captured:
                raise InputError(
                    f'tapped module {path!r} was not reached by the forward; tap a module that '
                    'the model calls (one that was replaced, or that torch.fx or '
                    'efficient_conv_bn_eval bypasses, is not called)'
                )
            tensor, version = self._captured.pop(path)
            if version is not None and tensor._version != version:
                raise InputError(
                    f'the output of tapped module {path!r} was changed in place after it was '
                    'tapped (by an inplace activation or +=); tap the module that changes it, or '
                    'make that operation not in place'
                )
            features[path] = tensor
        return features

    def remove(self) -> None:
        """Remove the hooks from the model."""
        self._hooks.remove()

    def follow(self, model: nn.Module) -> None:
        """Move the hooks to modules that have replaced tapped ones; see :class:`PathHooks`."""
        self._hooks.follow(model)

    def _hook(self, path: str, module: nn.Module, args: Any, output: Any) -> None:
        if not self._active:
            return
        if path in self._captured:
            raise InputError(
                f'tapped module {path!r} ran twice in one forward; tap modules that run once'
            )
        tensor = select_tensor(path, output)
        # A compiled graph has no eager version counter; the dry run at build time has checked it.
        counted = not (is_compiling() or tensor.is_inference())
        self._captured[path] = (tensor, tensor._version if counted else None)


class TappedNetwork:
    """A network whose taps are read by their role. It is not an ``nn.Module``.

    The taps are active inside ``with tapped:``.

    Args:
        network: An OpenMMLab model.
        taps: See :func:`read_taps`.
        input_shape: ``(C, H, W)`` of the dry run.
        name: Of the argument that the taps were given by, for messages.
        needs_features: Whether shallow modules and the last one are needed.
        extra: More module paths that are read, in ``features.extra``; those of ``taps`` may be
            among them.

    Attributes:
        paths: The module paths by role.
        path_specs: The shape of each tapped module's output, by path.
        order: The paths in the order of the forward.
        specs: The shapes by role.

    Raises:
        InputError: If the taps are unusable.
    """

    def __init__(
        self,
        network: nn.Module,
        taps: dict | str,
        input_shape: Sequence[int] | None = None,
        name: str = 'taps',
        needs_features: bool = False,
        extra: Sequence[str] = (),
    ) -> None:
        self.network = network
        self.paths = read_taps(taps, network, input_shape, needs_features, name)
        self.extra = tuple(extra)
        more = [path for path in extra if path not in self.paths.all]
        self.taps = FeatureTaps(network, [*self.paths.all, *more])
        self.path_specs, self.order, image = infer_specs(network, self.taps, input_shape)
        check_order(self.paths, self.order)
        check_logits(network, self.paths, self.path_specs, name)
        specs = network_specs(self.paths, self.path_specs, name, image)
        self.specs = replace(specs, kind=logits_kind(network))
        self._input_shape = input_shape
        self._frozen: frozenset[str] = frozenset()

    def __enter__(self) -> 'TappedNetwork':
        if not is_compiling():
            self.follow()
        self.taps.__enter__()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.taps.__exit__(*exc_info)

    def follow(self) -> None:
        """Move the hooks to modules that have replaced tapped ones."""
        self.taps.follow(self.network)

    def collect(self, size: Sequence[int] = (1, 1)) -> DistillFeatures:
        """Return the features of the forward just run inside ``with self:``.

        Args:
            size: ``(H, W)`` of the images. If they are not square, tokens become maps.

        Raises:
            InputError: If, in training, a feature gets no gradient although it depends on
                trainable parameters.
        """
        tapped = self.taps.pop()
        if self.network.training and torch.is_grad_enabled():
            without = [path for path, feature in tapped.items() if not feature.requires_grad]
            if without and not self._frozen.issuperset(without):
                refuse_cut_gradients(self.network, self.taps, without, self._input_shape)
                self._frozen = self._frozen.union(without)
        tapped = with_grids(tapped, self.num_prefix_tokens, size)
        features = features_of(self.paths, tapped)
        features.extra = {path: tapped[path] for path in self.extra}
        return features

    @property
    def num_prefix_tokens(self) -> dict[str, int]:
        """Tokens before the grid of each tap, by path."""
        return {path: spec.num_prefix_tokens for path, spec in self.path_specs.items()}


def features_of(paths: TapPaths, tapped: dict[str, Tensor]) -> DistillFeatures:
    """Return tapped tensors by role."""
    shallow = tuple(tapped[path] for path in paths.shallow)
    return DistillFeatures(shallow, tapped.get(paths.last), tapped.get(paths.logits))


def select_tensor(path: str, output: Any) -> Tensor:
    """Return the tensor of a module's output that a tap path selects.

    Raises:
        InputError: If the output is not a tensor, or is several and the path has no index.
    """
    name, index = split_index(path)
    if isinstance(output, Tensor):
        if index is not None:
            raise InputError(
                f'tapped module {path!r}: {name!r} outputs one tensor, which has no index; tap '
                f'{name!r}'
            )
        return output
    if not isinstance(output, (tuple, list)):
        raise InputError(f'tapped module {path!r} outputs a {type(output).__name__}, not a tensor')
    if index is not None:
        if not -len(output) <= index < len(output) or not isinstance(output[index], Tensor):
            raise InputError(
                f'tapped module {path!r}: its output of {len(output)} items has no '
                'tensor at that index'
            )
        return output[index]
    tensors = [item for item in output if isinstance(item, Tensor)]
    if len(tensors) != 1:
        raise InputError(
            f"tapped module {path!r} outputs {len(tensors)} tensors; select one, e.g. '{path}[0]'"
        )
    return tensors[0]
