"""Whether ``torch.compile`` or ``torch.export`` is tracing a forward pass."""

import torch

__all__ = ['is_compiling']

# torch.compiler has it from 2.2 on. The one of 2.1 is True in a graph of TorchDynamo, which knows it by identity.
is_compiling = getattr(torch.compiler, 'is_compiling', torch._utils.is_compiling)
