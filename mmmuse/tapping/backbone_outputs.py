"""The modules whose outputs a backbone returns."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from mmmuse.errors import InputError
from mmmuse.tapping.dry_run import dry_run


def output_paths(backbone: nn.Module, input_shape: Sequence[int] | None = None) -> list[str]:
    """Return the path of the module whose output is each of a backbone's outputs, in order.

    If several modules output one tensor (a stage and its last block), it is the outermost.

    Args:
        backbone: Maps an image to one or several tensors.
        input_shape: ``(C, H, W)`` of the dry run.

    Raises:
        InputError: If an output is not the output of any submodule.
    """
    return dry_run(backbone, lambda forward, shape: _output_paths(backbone, forward), input_shape)


def _output_paths(backbone: nn.Module, forward: Callable[[], Any]) -> list[str]:
    module_outputs: dict[str, Tensor] = {}

    def note(path: str, output: Any) -> None:
        if isinstance(output, Tensor):
            module_outputs[path] = output

    handles = [
        module.register_forward_hook(lambda _, args, output, path=path: note(path, output))
        for path, module in backbone.named_modules()
        if path
    ]
    try:
        outputs = forward()
    finally:
        for handle in handles:
            handle.remove()
    outputs = (outputs,) if isinstance(outputs, Tensor) else outputs
    paths = []
    for number, output in enumerate(outputs):
        of_output = [path for path, tensor in module_outputs.items() if tensor is output]
        if not of_output:
            raise InputError(
                f'output {number} of {type(backbone).__name__} is not the output of any submodule'
            )
        paths.append(min(of_output, key=lambda path: path.count('.')))
    return paths
