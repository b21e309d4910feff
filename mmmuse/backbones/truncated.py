from collections.abc import Callable, Sequence
from threading import get_ident
from typing import Any

import torch
from mmpretrain.models.backbones.base_backbone import BaseBackbone
from torch import Tensor, nn

from mmmuse.dry_run import dry_run
from mmmuse.errors import InputError
from mmmuse.registry import MODELS
from mmmuse.taps import FeatureTaps, resolve_tap, select_tensor


@MODELS.register_module()
class TruncatedBackbone(BaseBackbone):
    """A backbone up to one of its modules; what lies behind that is not built into it.

    The backbone is built from its config and run once on a blank image; every
    module that this forward has not reached when the last one is done is taken
    out. Its own forward then comes to nothing behind the last module, which is
    what is wanted: it has nothing left to do there.

    Args:
        backbone: Config of any mmpretrain backbone, or the built one.
        end: Path of the last module in the backbone, e.g. ``'layer3'``; of one
            that puts out several tensors one is chosen: ``'cells.9[0]'``.
        input_shape: ``(C, H, W)`` of the blank image; by default chosen by
            :func:`mmmuse.dry_run.blank_image_shapes`.
        init_cfg: MMEngine's.

    Raises:
        InputError: If there is no such module, or it is not on the path of the
            input through the backbone.
    """

    def __init__(
        self,
        backbone: dict | nn.Module,
        end: str,
        input_shape: Sequence[int] | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.body = MODELS.build(backbone) if isinstance(backbone, dict) else backbone
        self.end = end
        self._reached: dict[int, Tensor] = {}  # By thread: a server may have several.
        dry_run(self.body, self._cut_off, input_shape)
        resolve_tap(self.body, end).register_forward_hook(self._keep)

    def _cut_off(self, forward: Callable[[], object], shape: tuple[int, ...]) -> None:
        """Take out what a forward does not reach, and see that the feature stays what it is."""
        end = resolve_tap(self.body, self.end)
        taps = FeatureTaps(self.body, [self.end])
        with _Progress(self.body, end) as progress, taps:
            forward()
            if not taps.reached:
                raise InputError(
                    f'{type(self.body).__name__} cannot end at {self.end!r}: that module is not on '
                    'the path of the input'
                )
            feature = taps.pop()[self.end]
        taps.remove()
        progress.remove_the_rest(self.body)
        handle = end.register_forward_hook(self._keep)
        same = torch.equal(self._feature(forward), feature)
        handle.remove()
        if not same:
            raise InputError(
                f'{type(self.body).__name__} cannot end at {self.end!r}: what lies behind that '
                'module changes its output'
            )
        try:
            self.body.train()
        except (AttributeError, IndexError) as error:
            raise InputError(
                f'{type(self.body).__name__} cannot end at {self.end!r}: its train() is about what '
                f'lies behind ({error}); frozen_stages may reach too far'
            ) from error

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Map images ``(N, C, H, W)`` to ``(feature, )``, what the module ``end`` puts out."""
        # Not the module's call: tracers keep account of calls, and this one may end in an error.
        return (self._feature(lambda: self.body.forward(x)),)

    def _keep(self, module: nn.Module, args: Any, output: Any) -> None:
        self._reached[get_ident()] = select_tensor(self.end, output)

    def _feature(self, forward: Callable[[], object]) -> Tensor:
        thread = get_ident()
        try:
            forward()
        except Exception:
            # Behind the end, modules are missing; before it, the error is a real one.
            if thread not in self._reached:
                raise
        return self._reached.pop(thread)


class _Progress:
    """Notes which modules a forward enters and leaves until a given one is done."""

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
                module.register_forward_hook(self._leave),
            ]
        return self

    def _enter(self, module: nn.Module, *_: Any) -> None:
        if self._end not in self._done:
            self._entered.add(module)

    def _leave(self, module: nn.Module, *_: Any) -> None:
        if self._end not in self._done:
            self._done.add(module)

    def __exit__(self, *exc_info: object) -> None:
        for handle in self._handles:
            handle.remove()

    def remove_the_rest(self, module: nn.Module) -> None:
        """Take out of a module that was under way then the children that had not been reached."""
        for name, child in list(module._modules.items()):
            if child is None or child in self._done:
                continue
            if self._entered.isdisjoint(child.modules()):
                del module._modules[name]
            else:
                self.remove_the_rest(child)
