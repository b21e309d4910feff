"""Attention in windows (Swin, MixMIM) for exported batches of any size."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn


@contextmanager
def with_whole_numbers(network: nn.Module) -> Iterator[None]:
    """Have the windows of a network counted by whole numbers while it is exported.

    OpenMMLab's ``window_reverse`` finds the batch size by a division of floats, which
    ``torch.export`` cannot invert: the program would be for one batch size.

    Args:
        network: Any; its modules with a ``window_reverse`` have another one inside of the context.
    """
    changed = [module for module in network.modules() if hasattr(module, 'window_reverse')]
    for module in changed:
        vars(module)['window_reverse'] = _window_reverse(module)
    try:
        yield
    finally:
        for module in changed:
            del vars(module)['window_reverse']


def _window_reverse(module: nn.Module) -> Callable[..., Tensor]:
    def window_reverse(
        windows: Tensor, height: int, width: int, window_size: int | None = None
    ) -> Tensor:
        """Put windows ``(N * L, s, s, C)`` together to ``(N, H, W, C)``."""
        size = (
            window_size or module.window_size
        )  # The method of mmdet and mmseg has no such argument.
        rows, columns = height // size, width // size
        batch_size = windows.shape[0] // (rows * columns)  # len() would be a constant.
        grid = windows.view(batch_size, rows, columns, size, size, -1)
        return grid.transpose(2, 3).reshape(batch_size, height, width, -1)

    return window_reverse
