import torch
from torch import Tensor


def precise(tensor: Tensor) -> Tensor:
    """Return half precision as float32, for not every kernel knows it; the rest as it is."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
