"""Whether ``torch.compile`` or ``torch.export`` is tracing a forward pass, and what they do not trace."""

import torch

__all__ = ['is_compiling', 'not_compiled']

# torch.compiler has it from 2.2 on. The one of 2.1 is True in a graph of TorchDynamo, which knows it by identity.
is_compiling = getattr(torch.compiler, 'is_compiling', torch._utils.is_compiling)

# torch.compiler.disable imports torch._dynamo where a function is defined; torch's own decorator, from 2.1 on,
# where it is first called.
not_compiled = getattr(torch, '_disable_dynamo', torch.compiler.disable)
