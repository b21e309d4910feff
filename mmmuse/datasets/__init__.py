from .batched import BatchedImages, keep_batch
from .cifar import BatchedCIFAR10, BatchedCIFAR100, PerSampleCIFAR100
from .digits import BatchedDigits
from .load_checked_image import LoadCheckedImage
from .preprocessor import BatchedDataPreprocessor
from .tiny_imagenet import TinyImageNet

__all__ = [
    'BatchedCIFAR10',
    'BatchedCIFAR100',
    'BatchedDataPreprocessor',
    'BatchedDigits',
    'BatchedImages',
    'LoadCheckedImage',
    'PerSampleCIFAR100',
    'TinyImageNet',
    'keep_batch',
]
