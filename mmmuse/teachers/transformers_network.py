import difflib
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mmmuse.arguments import PositiveInt
from mmmuse.checkpoints.state_dicts import check_same
from mmmuse.errors import InputError
from mmmuse.registry import MODELS

from .image_settings import check_patches, image_size
from .library_network import LastFeature, LibraryNetwork, check_installed, same_weights
from .processor_settings import processor_settings
from .token_layout import grid_of_patches, pair, token_map
from .weights import not_loaded, one_line, read_weights

_CLASSIFIES = 'ForImageClassification'
_CLASSIFIERS = ('classifier', 'cls_classifier', 'head')


@MODELS.register_module()
class TransformersNetwork(LibraryNetwork):
    """A network of transformers, ``'transformers::facebook/dinov2-small'`` or ``'transformers::FOLDER'``.

    Input size, interpolation, mean and deviation are those of its image processor. The crop that it
    also names is not made: teacher and student see the same part of an image. Of a model of images and
    text, the part for images is used.

    Args:
        name: A folder that ``save_pretrained`` wrote, or a name on the hub.
        pretrained: Load the weights, from the folder, the hub's cache or the hub. Otherwise they are
            random, and the same at each start.
        checkpoint: Local file of other weights for this network.
        trust: Read a checkpoint that holds more than weights; it may run code.
        input_size: Side or ``(H, W)`` of the input, in place of the processor's. Positions are interpolated
            where the network can.
        options: Keys of its config, in place of those of the file.

    Raises:
        InputError: If transformers is not installed, there is no such network or it needs code of its own,
            its weights cannot be loaded, or the size is not a whole number of patches.
    """

    library = 'transformers'

    def __init__(
        self,
        name: str,
        pretrained: bool = True,
        checkpoint: str | None = None,
        trust: bool = False,
        input_size: PositiveInt | Sequence[PositiveInt] | None = None,
        options: dict | None = None,
    ) -> None:
        check_installed(self.library, name)
        try:
            network, has_pooler = _built(name, pretrained and checkpoint is None, options or {})
            settings = processor_settings(
                name, None if input_size is None else image_size(input_size)
            )
        except InputError:
            raise
        except Exception as error:
            raise _explained(name, error) from error
        if checkpoint is not None:
            weights = read_weights(checkpoint, trust)
            try:
                check_same('network', network.state_dict(), weights)
            except InputError as error:
                raise InputError(f'teacher_checkpoint {checkpoint}: {error}') from error
            network.load_state_dict(weights)
        network = getattr(network, 'vision_model', network)
        config = getattr(network.config, 'vision_config', network.config)
        classifies = type(network).__name__.endswith(_CLASSIFIES)
        super().__init__(name, network.eval(), settings, config.num_labels if classifies else None)
        self.has_pooler = has_pooler
        patch = getattr(config, 'patch_size', None)
        self.patch = None if patch is None else pair(patch)
        own_size = getattr(config, 'image_size', None)
        # A plain transformer; Swin has a number for each stage.
        self.is_plain = isinstance(getattr(config, 'num_attention_heads', None), int)
        if own_size is not None and self.patch is not None and self.is_plain:
            check_patches(self.name, settings.size, self.patch)
        takes = inspect.signature(network.forward).parameters
        self.call = {}
        if own_size is not None and 'interpolate_pos_encoding' in takes:
            self.call['interpolate_pos_encoding'] = pair(own_size) != settings.size

    def last_feature(self, inputs: Tensor) -> LastFeature:
        """Return the last feature of images ``(N, 3, H, W)``."""
        seen: dict[str, Any] = {}
        base = getattr(self.network, 'base_model', self.network)
        parts = {'base': base, 'classifier': self._classifier()}
        handles = [
            part.register_forward_hook(
                lambda _, args, output, key=key: seen.update({key: (args, output)})
            )
            for key, part in parts.items()
            if part is not None
        ]
        try:
            output = self.network(inputs, **self.call)
        finally:
            for handle in handles:
                handle.remove()
        output_of_base = seen['base'][1] if 'base' in seen else output
        last = output_of_base.last_hidden_state
        features = self._map(last, tuple(inputs.shape[2:]))
        if 'classifier' in seen:
            vector = seen['classifier'][0][0]
        else:
            pooled = getattr(output_of_base, 'pooler_output', None) if self.has_pooler else None
            vector = features.mean((2, 3)) if pooled is None else pooled
        logits = None if self.num_classes is None else output.logits
        return LastFeature(features, vector.flatten(1), logits)

    def _classifier(self) -> nn.Module | None:
        if self.num_classes is None:
            return None
        parts = (getattr(self.network, name, None) for name in _CLASSIFIERS)
        return next((part for part in parts if isinstance(part, nn.Module)), None)

    def _map(self, last: Tensor, size: tuple[int, int]) -> Tensor:
        if last.ndim == 4:
            return last
        found = grid_of_patches(size, self.patch or (1, 1), last.shape[1], not self.is_plain)
        if found is None:
            raise InputError(
                f'{self.name}: {last.shape[1]} tokens are no grid of patches of an image of '
                f'{size[0]}x{size[1]}'
            )
        return token_map(last, *found)


def _built(name: str, pretrained: bool, options: dict[str, Any]) -> tuple[nn.Module, bool]:
    """Return the network, and whether the weights of its pooler, if it has one, are known."""
    from transformers import AutoConfig, AutoModel, AutoModelForImageClassification

    config = AutoConfig.from_pretrained(name, trust_remote_code=False, **options)
    kinds = getattr(config, 'architectures', None) or ()
    classifies = any(kind.endswith(_CLASSIFIES) for kind in kinds)
    kind = AutoModelForImageClassification if classifies else AutoModel
    if not pretrained:
        with same_weights():
            return kind.from_config(config, trust_remote_code=False), True
    network, found = kind.from_pretrained(
        name, config=config, trust_remote_code=False, output_loading_info=True
    )
    missing = [key for key in found['missing_keys'] if 'pooler' not in key.split('.')]
    if missing:
        raise InputError(
            f'the weights of transformers::{name} lack {", ".join(sorted(missing)[:3])}'
            f'{" and more" if len(missing) > 3 else ""}: they are of another network'
        )
    return network, not found['missing_keys']


def _explained(name: str, error: Exception) -> InputError:
    """Return the error for a network that transformers could not build."""
    if 'trust_remote_code' in str(error):
        return InputError(
            f'transformers::{name} needs code of its own, which mmmuse does not run; choose a network '
            'that transformers has'
        )
    if Path(name).is_dir():
        return InputError(f'transformers::{name} cannot be built: {one_line(error)}')
    if not isinstance(error, OSError):
        return not_loaded(f'transformers::{name}', error)
    nearest = difflib.get_close_matches(name, _known(name), n=3)
    hint = f'; nearest: {", ".join(nearest)}' if nearest else ''
    return InputError(
        f"transformers::{name} is neither a folder nor in the hub's cache, and could not be "
        f'downloaded{hint}; write the network with save_pretrained, or run once with access to the hub'
    )


def _known(name: str) -> list[str]:
    """Return the networks in the hub's cache, and the folders beside the one that is missing."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    folder = Path(name).parent
    beside = [str(path) for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    try:
        cached = [repo.repo_id for repo in scan_cache_dir().repos if repo.repo_type == 'model']
    except CacheNotFound:
        cached = []
    return [*cached, *beside]
