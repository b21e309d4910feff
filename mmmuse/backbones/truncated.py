from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from threading import get_ident
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmmuse.arguments import ImageShape
from mmmuse.compat.compiling import is_compiling
from mmmuse.errors import InputError
from mmmuse.registry import MODELS
from mmmuse.tapping.dry_run import dry_run
from mmmuse.tapping.features import FeatureSpec
from mmmuse.tapping.path_hooks import PathHooks, resolve_tap
from mmmuse.tapping.taps import FeatureTaps, select_tensor
from mmmuse.tapping.token_maps import as_map


@MODELS.register_module()
class TruncatedBackbone(BaseModule):
    """A backbone up to one of its modules; later modules are removed.

    The backbone is built from its config and run once on a blank image. Modules that the forward
    has not reached when ``end`` is done are replaced by modules without parameters and buffers, as
    other code may name them: a ``train()`` that freezes later stages, or ``self.b(self.a(x))``, which
    reads ``b`` before ``a`` is called. The forward of the truncated backbone may fail after ``end``,
    which is expected and ignored.

    Args:
        backbone: Config of any OpenMMLab backbone, or the built one.
        end: Path of the last module in the backbone, e.g. ``'layer3'``; an index selects one
            of several output tensors: ``'cells.9[0]'``.
        outs: Paths of earlier modules whose outputs are returned before that of the last.
        input_shape: ``(C, H, W)`` of the blank image; by default chosen by
            :func:`mmmuse.tapping.dry_run.blank_image_shapes`.
        as_maps: Return tokens ``(N, L, C)`` as maps with the image's aspect ratio, without prefix (class)
            tokens.
        init_cfg: MMEngine's.

    Raises:
        InputError: If a module does not exist, or the forward does not reach it, or the forward up to
            ``end`` or ``train()`` needs more of a later module than its submodules.
    """

    def __init__(
        self,
        backbone: dict | nn.Module,
        end: str,
        outs: Sequence[str] = (),
        input_shape: ImageShape | None = None,
        as_maps: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.as_maps = as_maps
        self.body = MODELS.build(backbone) if isinstance(backbone, dict) else backbone
        self.end = end
        self.outs = tuple(outs)
        # By thread, as a server may have several, and by path.
        self._reached: dict[int, dict[str, Tensor]] = {}
        dry_run(self.body, self._truncate, input_shape)
        self._hooks = self._keep_features()

    def _truncate(self, forward: Callable[[], object], shape: tuple[int, ...]) -> None:
        """Remove the modules that a forward does not need, and check that its outputs are equal."""
        end = resolve_tap(self.body, self.end)
        taps = FeatureTaps(self.body, dict.fromkeys([*self.outs, self.end]))
        with _Progress(self.body, end) as progress, taps:
            forward()
            if self.end not in taps.reached:
                raise InputError(
                    f'{type(self.body).__name__} cannot end at {self.end!r}: the forward does not '
                    'reach that module'
                )
            if taps.reached[-1] != self.end:
                raise InputError(
                    f'{type(self.body).__name__} cannot end at {self.end!r}: {taps.reached[-1]!r} in '
                    'outs is a later module'
                )
            features = taps.pop()
        taps.remove()
        progress.remove_unreached(self.body)
        hooks = self._keep_features()
        with self._naming_later_modules('forward'):
            found = self._features(forward)
        hooks.remove()
        expected = [features[path] for path in (*self.outs, self.end)]
        self._num_prefix_tokens = [
            FeatureSpec.of(feature.shape, self.end, shape[1:]).num_prefix_tokens
            if feature.ndim == 3
            else 0
            for feature in expected
        ]
        if not all(torch.equal(*pair) for pair in zip(found, expected, strict=True)):
            raise InputError(
                f'{type(self.body).__name__} cannot end at {self.end!r}: a later module changes '
                'its output'
            )
        with self._naming_later_modules('train()'):
            self.body.train()

    @contextmanager
    def _naming_later_modules(self, method: str) -> Iterator[None]:
        """Turn the errors of code that needs a removed module into an InputError."""
        try:
            yield
        except Exception as error:
            raise InputError(
                f'{type(self.body).__name__} cannot end at {self.end!r}: its {method} needs a later '
                f'module ({error})'
            ) from error

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map images ``(N, C, H, W)`` to the outputs of the modules ``outs`` and, last, ``end``."""
        if not is_compiling():
            self._hooks.follow(self.body)
        # Not self.body(x): tracers record module calls, and this one may end in an error.
        features = self._features(lambda: self.body.forward(x))
        if not self.as_maps:
            return features
        return tuple(
            as_map(feature, x.shape[2:], number)
            for feature, number in zip(features, self._num_prefix_tokens, strict=True)
        )

    def _keep_features(self) -> PathHooks:
        paths = (*self.outs, self.end)
        return PathHooks(self.body, {path: partial(self._keep, path) for path in paths})

    def _keep(self, path: str, module: nn.Module, args: Any, output: Any) -> None:
        self._reached.setdefault(get_ident(), {})[path] = select_tensor(path, output)

    def _features(self, forward: Callable[[], object]) -> tuple[Tensor, ...]:
        thread = get_ident()
        try:
            forward()
        except Exception:
            # After the end, modules are missing; before it, the error is a real one.
            if self.end not in self._reached.get(thread, {}):
                self._reached.pop(thread, None)
                raise
        reached = self._reached.pop(thread)
        return tuple(reached[path] for path in (*self.outs, self.end))


class _Removed(nn.Sequential):
    """Stands for a removed module: has its submodules, by name and index, but no weights.

    Sequential for its ``[]`` and iteration only.
    """

    _path = ''
    _is_skipped = False

    @classmethod
    def of(cls, module: nn.Module, path: str, is_skipped: bool = False) -> '_Removed':
        """Return the replacement of a module; a call of it is an error, or returns the input if skipped."""
        removed = cls()
        removed._path, removed._is_skipped = path, is_skipped
        for name, child in module._modules.items():
            removed._modules[name] = child if child is None else cls.of(child, f'{path}.{name}')
        return removed

    # Not forward: a tracer records calls of modules, and does not survive one that ends in an error.
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._is_skipped:
            return next(iter([*args, *kwargs.values()]))
        raise InputError(
            f'{self._path!r} is called before the end of the truncated backbone, but was removed, '
            'since its dry run in eval mode did not call it: end at a later module'
        )

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            raise AttributeError(f'{self._path!r} was removed, and with it {name!r}') from None


class _Progress:
    """Records which modules a forward has entered and finished when a given one is done."""

    def __init__(self, model: nn.Module, end: nn.Module) -> None:
        self._model = model
        self._end = end
        self._entered: set[nn.Module] = set()
        self._done: set[nn.Module] = set()

    def __enter__(self) -> '_Progress':
        self._handles = []
        for module in self._model.modules():
            self._handles += [
                module.register_forward_pre_hook(self._enter),
                module.register_forward_hook(self._finish),
            ]
        return self

    def _enter(self, module: nn.Module, *_: Any) -> None:
        if self._end not in self._done:
            self._entered.add(module)

    def _finish(self, module: nn.Module, *_: Any) -> None:
        if self._end not in self._done:
            self._done.add(module)

    def __exit__(self, *exc_info: object) -> None:
        for handle in self._handles:
            handle.remove()

    def remove_unreached(self, module: nn.Module, path: str = '', is_called: bool = False) -> None:
        """Replace, recursively, the children that had not been reached by then.

        Args:
            module: The model, or an unfinished module in it.
            path: Prefix of the names of its children.
            is_called: Whether the module, or one around it other than the model, is called. A tracer
                does not survive a call that ends in an error, so what it would call later is skipped.
        """
        is_list = isinstance(module, (nn.ModuleList, nn.ModuleDict, nn.Sequential))
        is_skipped = is_called or isinstance(module, nn.Sequential)
        for name, child in list(module._modules.items()):
            if child is None or child in self._done:
                continue
            if not self._entered.isdisjoint(child.modules()):
                self.remove_unreached(child, f'{path}{name}.', is_called or child in self._entered)
                continue
            removed = _Removed.of(child, path + name, is_skipped)
            if is_list:
                module._modules[name] = removed
            else:
                # Not a submodule, as nothing but its own code reads it.
                del module._modules[name]
                vars(module)[name] = removed
