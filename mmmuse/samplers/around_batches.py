from typing import Any

from torch.utils.data import DataLoader


class AroundBatches:
    """A batch sampler around that of a data loader, which it replaces there.

    The other attributes are those of the sampler inside.

    Args:
        loader: The data loader.
    """

    def __init__(self, loader: DataLoader) -> None:
        self.inner = loader.batch_sampler
        # DataLoader refuses another sampler by its own __setattr__.
        object.__setattr__(loader, 'batch_sampler', self)

    def __len__(self) -> int:
        """Return the number of batches of an epoch."""
        return len(self.inner)

    def __getattr__(self, name: str) -> Any:
        if name == 'inner':  # While it is unpickled, in a worker that is not forked.
            raise AttributeError(name)
        return getattr(self.inner, name)
