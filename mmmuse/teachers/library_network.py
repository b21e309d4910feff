from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import ClassVar, NamedTuple

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from mmmuse.environment.install import install_command
from mmmuse.errors import InputError

from .image_settings import ImageSettings, LibraryPreprocessor
from .token_layout import map_tokens


class LastFeature(NamedTuple):
    """What a network outputs for N images.

    Attributes:
        map: Its last feature, ``(N, C, h, w)``.
        vector: The pooled feature that its classifier reads, ``(N, C')``.
        logits: ``(N, K)``; None without a classifier.
    """

    map: Tensor
    vector: Tensor
    logits: Tensor | None


class LibraryNetwork(BaseModel):
    """A network of another library as an OpenMMLab model whose features are tapped.

    Its submodules ``map``, ``tokens``, ``vector`` and ``logits`` are there for taps: they output the last
    feature as a map ``(N, C, h, w)``, as patch tokens ``(N, h w, C)``, as the pooled vector, and the class
    logits. ``network`` is the library's own module, whose parts can be tapped as well. It
    predicts and trains nothing by itself.

    Args:
        name: Of the network, for messages.
        network: The library's module, with its weights.
        settings: How its images are prepared.
        num_classes: K; None without a classifier, and then there is no ``logits``.
    """

    library: ClassVar[str]

    def __init__(
        self, name: str, network: nn.Module, settings: ImageSettings, num_classes: int | None
    ) -> None:
        super().__init__(data_preprocessor=LibraryPreprocessor(settings))
        self.name = f'{self.library}::{name}'
        self.network = network
        self.num_classes = num_classes
        self.map, self.tokens, self.vector = nn.Identity(), nn.Identity(), nn.Identity()
        if num_classes is not None:
            self.logits = nn.Identity()
        self._is_init = True  # MMEngine's init_weights would draw weights anew.

    @property
    def default_taps(self) -> dict[str, str]:
        """Taps of the last map and, with a classifier, of the logits."""
        return dict(last='map', **({} if self.num_classes is None else dict(logits='logits')))

    @abstractmethod
    def last_feature(self, inputs: Tensor) -> LastFeature:
        """Return the last feature of images ``(N, 3, H, W)``."""

    def forward(
        self, inputs: Tensor, data_samples: list | None = None, mode: str = 'tensor'
    ) -> Tensor:
        """Return the logits of N images, or without a classifier the pooled vectors.

        Raises:
            InputError: In another mode than ``'tensor'``.
        """
        if mode != 'tensor':
            raise InputError(f'{self.name} is a teacher: it is not trained and predicts nothing')
        last = self.last_feature(inputs)
        self.tokens(map_tokens(self.map(last.map)))
        vector = self.vector(last.vector)
        return vector if last.logits is None else self.logits(last.logits)


def check_installed(library: str, name: str) -> None:
    """Check that a library is there.

    Raises:
        InputError: If it is not; the message has the command that installs it.
    """
    if find_spec(library) is None:
        raise InputError(
            f'{library}::{name} needs {library}, which is not installed: {install_command(library)}'
        )


@contextmanager
def same_weights() -> Iterator[None]:
    """Draw random weights from a fixed seed, and leave the state of the generator as it was.

    A teacher without trained weights is then the same in each process of a run, and in a run that is resumed.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
