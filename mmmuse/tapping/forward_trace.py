"""Every module's call in one forward."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from torch import Tensor, nn

from mmmuse.tapping.features import FeatureSpec


@dataclass(frozen=True)
class TappableModule:
    """A module whose output can be tapped.

    Attributes:
        path: Module path in the student.
        shape: Output shape without the batch.
        stride: Input height over grid height; None for a vector.
        params: Parameters in the module.
        params_so_far: Parameters used when its output is ready.
        falls: Whether the resolution is lower than at all modules before.
    """

    path: str
    shape: tuple[int, ...]
    stride: float | None
    params: int
    params_so_far: int
    falls: bool


@dataclass
class ModuleCall:
    """The first call of a module; ``params_before`` and ``params_so_far`` count those used."""

    path: str
    module: nn.Module
    params_before: int
    parent: 'ModuleCall | None'
    children: list['ModuleCall'] = field(default_factory=list)
    inputs: tuple = ()
    tensor: Tensor | None = None
    version: int = 0
    params_so_far: int = 0
    runs: int = 1

    @property
    def used_params(self) -> int:
        """Parameters first used in this call."""
        return self.params_so_far - self.params_before

    @property
    def spec(self) -> FeatureSpec | None:
        """Channels and grid of the output; None if it is not a feature of one image."""
        if self.tensor is None or not 2 <= self.tensor.ndim <= 4 or len(self.tensor) != 1:
            return None
        return FeatureSpec.of(self.tensor.shape)

    @property
    def grid(self) -> tuple[int, int] | None:
        """Grid of the output; None if it has none."""
        return self.spec and self.spec.grid

    @property
    def can_tap(self) -> bool:
        """Whether the output is a feature that is computed once and not changed in place."""
        return self.runs == 1 and self.spec is not None and self.tensor._version == self.version


class ForwardTrace:
    """Every module's call in one forward, in the order in which they finish.

    Args:
        model: The model.
        forward: Runs it.
        input_shape: ``(C, H, W)`` of the image.

    Attributes:
        root: The call of the model itself.
        calls: All others by path.
        output: The output, if it is one tensor.
        logits: Path of the class logits' module; None if none was found.
    """

    def __init__(
        self, model: nn.Module, forward: Callable[[], object], input_shape: tuple[int, ...]
    ) -> None:
        self.input_shape = input_shape
        self.root = ModuleCall('', model, 0, None)
        self.calls: dict[str, ModuleCall] = {}
        self._stack = [self.root]
        self._counted: set[nn.Module] = set()
        self._params = 0
        handles = []
        for path, module in model.named_modules():
            if path:
                handles += [
                    module.register_forward_pre_hook(partial(self._enter, path)),
                    module.register_forward_hook(partial(self._finish, path)),
                ]
        try:
            self.output = _one_tensor(forward())
        finally:
            for handle in handles:
                handle.remove()
        self.logits = self._find_logits()

    def _enter(self, path: str, module: nn.Module, args: tuple) -> None:
        call = ModuleCall(path, module, self._params, self._stack[-1], inputs=args)
        self._stack.append(call)

    def _finish(self, path: str, module: nn.Module, args: tuple, output: object) -> None:
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

    def tappable(self) -> tuple[TappableModule, ...]:
        """Return the modules that can be tapped, in the order in which they finish."""
        modules, height = [], self.input_shape[-2]
        for call in self.calls.values():
            if not call.can_tap:
                continue
            rows = call.grid[0] if call.grid else None
            modules.append(
                TappableModule(
                    call.path,
                    tuple(call.tensor.shape[1:]),
                    self.input_shape[-2] / rows if rows else None,
                    sum(p.numel() for p in call.module.parameters()),
                    call.params_so_far,
                    falls=rows is not None and rows < height,
                )
            )
            height = min(height, rows) if rows else height
        return tuple(modules)

    def _find_logits(self) -> str | None:
        if self.output is None or self.output.ndim != 2:
            return None
        calls = self.calls.values()
        paths = [call.path for call in calls if call.tensor is self.output and call.runs == 1]
        return min(paths, key=lambda path: path.count('.'), default=None)


def _one_tensor(output: object) -> Tensor | None:
    if isinstance(output, Tensor):
        return output
    if isinstance(output, (tuple, list)):
        tensors = [item for item in output if isinstance(item, Tensor)]
        return tensors[0] if len(tensors) == 1 else None
    return None
