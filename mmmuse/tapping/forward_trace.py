"""Every module's call in one forward."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from torch import Tensor, nn

from mmmuse.tapping.feature_grid import Grid, map_grid, possible_grids, token_grid


@dataclass(frozen=True)
class TappableModule:
    """A module whose output can be tapped.

    Attributes:
        path: Module path in the student, with the index of an output if it has several.
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
    """The first call of a module; ``params_before`` and ``params_so_far`` count those used.

    Attributes:
        name: Module path.
        outputs: The output tensors by their index; the index is None if there is only one.
        index: Index of the output that can be tapped: of several the one of the lowest
            resolution, and the last of those.
        tensor: That output; None if no output is a feature of one image.
        grid: Its grid; None if it is a vector.
    """

    name: str
    module: nn.Module
    params_before: int
    parent: 'ModuleCall | None'
    children: list['ModuleCall'] = field(default_factory=list)
    inputs: tuple = ()
    outputs: dict[int | None, Tensor] = field(default_factory=dict)
    versions: dict[int | None, int] = field(default_factory=dict)
    index: int | None = None
    tensor: Tensor | None = None
    grid: Grid | None = None
    params_so_far: int = 0
    runs: int = 1

    @property
    def path(self) -> str:
        """Tap path: the module path, with an index if the output is one of several."""
        return self.name if self.index is None else f'{self.name}[{self.index}]'

    @property
    def used_params(self) -> int:
        """Parameters first used in this call."""
        return self.params_so_far - self.params_before

    @property
    def channels(self) -> int | None:
        """Channels of the feature; None if there is none."""
        if self.tensor is None:
            return None
        return self.tensor.shape[2 if self.tensor.ndim == 3 else 1]

    @property
    def can_tap(self) -> bool:
        """Whether the output is a feature that is computed once and not changed in place."""
        if self.runs != 1 or self.tensor is None:
            return False
        return self.tensor._version == self.versions[self.index]

    def select_output(self, image: Grid, grids: set[Grid]) -> None:
        """Select the output that can be tapped.

        Args:
            image: ``(H, W)`` of the image.
            grids: Those that tokens can have.
        """
        found = []
        for index, tensor in self.outputs.items():
            if not 2 <= tensor.ndim <= 4 or len(tensor) != 1:
                continue
            shape, grid = tensor.shape[1:], None
            if tensor.ndim > 2:
                grid = map_grid(shape, image) if tensor.ndim == 4 else token_grid(shape, grids)
                if grid is None:
                    continue
            elif index is not None:
                continue
            found.append((index, tensor, grid))
        if found:
            area = [at[0] * at[1] if at else 0 for _, _, at in found]
            last = max(i for i, size in enumerate(area) if size == min(area))
            self.index, self.tensor, self.grid = found[last]


class ForwardTrace:
    """Every module's call in one forward, in the order in which they finish.

    Args:
        model: The model.
        forward: Runs it.
        input_shape: ``(C, H, W)`` of the image.

    Attributes:
        root: The call of the model itself.
        calls: All others by module path.
        output: The output, if it is one tensor.
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
            self.root.outputs = _tensors(forward())
        finally:
            for handle in handles:
                handle.remove()
        self.root.params_so_far = self._params
        self.output = self.root.outputs.get(None)
        self._select_outputs()

    def _enter(self, path: str, module: nn.Module, args: tuple) -> None:
        call = ModuleCall(path, module, self._params, self._stack[-1], inputs=args)
        self._stack.append(call)

    def _finish(self, path: str, module: nn.Module, args: tuple, output: object) -> None:
        call = self._stack.pop()
        if module not in self._counted:
            self._counted.add(module)
            self._params += sum(p.numel() for p in module.parameters(recurse=False))
        call.params_so_far = self._params
        call.outputs = _tensors(output)
        call.versions = {index: tensor._version for index, tensor in call.outputs.items()}
        if path in self.calls:
            self.calls[path].runs += 1
        else:
            self.calls[path] = call
            call.parent.children.append(call)

    def _select_outputs(self) -> None:
        image = tuple(self.input_shape[1:])
        maps = {map_grid(tensor.shape[1:], image) for tensor in self._maps()}
        grids = possible_grids({image, *maps} - {None})
        for call in self.calls.values():
            call.select_output(image, grids)

    def _maps(self) -> Iterator[Tensor]:
        for call in self.calls.values():
            yield from (t for t in call.outputs.values() if t.ndim == 4 and len(t) == 1)

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


def _tensors(output: object) -> dict[int | None, Tensor]:
    """Return the tensors of an output by index; the index of a single one is None."""
    if isinstance(output, Tensor):
        return {None: output}
    if not isinstance(output, (tuple, list)):
        return {}
    tensors = {i: item for i, item in enumerate(output) if isinstance(item, Tensor)}
    return {None: next(iter(tensors.values()))} if len(tensors) == 1 else tensors
