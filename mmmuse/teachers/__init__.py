from .library_network import LibraryNetwork
from .timm_network import TimmNetwork
from .transformers_network import TransformersNetwork

__all__ = ['LibraryNetwork', 'TimmNetwork', 'TransformersNetwork']
