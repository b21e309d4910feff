"""The modules whose outputs a backbone returns."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmmuse.errors import InputError
from mmmuse.tapping.dry_run import dry_run, random_image


def output_paths(
    backbone: nn.Module,
    input_shape: Sequence[int] | None = None,
    of: nn.Module | None = None,
) -> list[str]:
    """Return the tap path of each of a backbone's outputs, in order.

    If several modules output one tensor (a stage and its last block), it is the outermost. A map
    may be the tokens ``(N, L, C)`` of a module in another layout, as in transformers. Of a
    module that outputs several tensors the path has an index: ``'stage4[0]'``.

    Args:
        backbone: Maps an image to one or several tensors.
        input_shape: ``(C, H, W)`` of the dry run.
        of: The network that it is a part of, which gives the image's shape.

    Raises:
        InputError: If an output is not the output of any submodule.
    """
    return dry_run(
        backbone,
        lambda forward, shape: _output_paths(backbone, forward),
        input_shape,
        make_image=random_image,
        of=of,
    )


def last_output(network: nn.Module, input_shape: Sequence[int] | None = None) -> str:
    """Return the tap path of the last output of a network's backbone, ``'backbone'`` or ``'backbone[3]'``.

    Args:
        network: A model with a ``backbone``.
        input_shape: ``(C, H, W)`` of the dry run.
    """
    outputs = dry_run(network.backbone, lambda forward, shape: forward(), input_shape, of=network)
    return 'backbone' if isinstance(outputs, Tensor) else f'backbone[{len(outputs) - 1}]'


def _output_paths(backbone: nn.Module, forward: Callable[[], Any]) -> list[str]:
    module_outputs: dict[str, Tensor] = {}

    def note(path: str, output: Any) -> None:
        module_outputs.update(_tensors(path, output))

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
        of_output = of_output or [
            path for path, tensor in module_outputs.items() if _is_in_tokens(output, tensor)
        ]
        if not of_output:
            raise InputError(
                f'output {number} of {type(backbone).__name__} is not the output of any submodule'
            )
        paths.append(min(of_output, key=lambda path: path.count('.')))
    return paths


def _tensors(path: str, output: Any) -> Iterator[tuple[str, Tensor]]:
    if isinstance(output, Tensor):
        yield path, output
    elif isinstance(output, (tuple, list)):
        for i, item in enumerate(output):
            if isinstance(item, Tensor):
                yield f'{path}[{i}]', item


def _is_in_tokens(output: Tensor, tokens: Tensor) -> bool:
    """Return whether a map ``(N, C, H, W)`` has the values of tokens ``(N, H * W, C)``."""
    if output.ndim != 4 or tokens.ndim != 3:
        return False
    flat = output.flatten(2).transpose(1, 2)
    return flat.shape == tokens.shape and torch.equal(flat, tokens)
