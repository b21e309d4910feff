import difflib
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from torch import Tensor, nn

from mmmuse.arguments import PositiveInt
from mmmuse.errors import InputError
from mmmuse.registry import MODELS

from .image_settings import ImageSettings, check_patches, image_size
from .library_network import LastFeature, LibraryNetwork, check_installed, same_weights
from .token_layout import grid_of_patches, pair, token_map
from .weights import not_loaded, one_line, read_weights


@MODELS.register_module()
class TimmNetwork(LibraryNetwork):
    """A network of timm, ``'timm::vit_small_patch14_dinov2.lvd142m'``.

    Input size, interpolation, mean and deviation are those of ``timm.data.resolve_data_config``. The
    crop that it also names is not made: teacher and student see the same part of an image.

    Args:
        name: As ``timm.create_model`` takes it: an architecture, with the tag of its weights, or
            ``'hf-hub:OWNER/NAME'``.
        pretrained: Load the weights that the name stands for, from the hub's cache or the hub. Otherwise
            they are random, and the same at each start.
        checkpoint: Local file of other weights for this architecture.
        trust: Read a checkpoint that holds more than weights; it may run code.
        input_size: Side or ``(H, W)`` of the input, in place of the data config's. A transformer is built
            for it.
        num_classes: Of the checkpoint, or of random weights.
        options: More arguments of ``timm.create_model``.

    Raises:
        InputError: If timm is not installed or has no such network, its weights cannot be loaded, or the
            size is not a whole number of patches.
    """

    library = 'timm'

    def __init__(
        self,
        name: str,
        pretrained: bool = True,
        checkpoint: str | None = None,
        trust: bool = False,
        input_size: PositiveInt | Sequence[PositiveInt] | None = None,
        num_classes: PositiveInt | None = None,
        options: dict | None = None,
    ) -> None:
        check_installed(self.library, name)
        from timm.data import resolve_data_config

        _check_name(name)
        if num_classes is not None and pretrained and checkpoint is None:
            raise InputError(
                f'num_classes of timm::{name} is that of a checkpoint: its own weights have their own '
                'classes'
            )
        options = dict(options or {})
        size = None if input_size is None else image_size(input_size)
        if size is not None:
            options['img_size'] = size
        if num_classes is not None:
            options['num_classes'] = num_classes
        if checkpoint is not None:
            pretrained, options['pretrained_cfg_overlay'] = (
                True,
                _overlay(read_weights(checkpoint, trust), num_classes),
            )
        network = _built(name, pretrained, checkpoint, options).eval()
        config = resolve_data_config({}, model=network)
        settings = ImageSettings(
            size or _built_size(network) or tuple(config['input_size'][1:]),
            config['interpolation'],
            tuple(255 * value for value in config['mean']),
            tuple(255 * value for value in config['std']),
        )
        super().__init__(name, network, settings, getattr(network, 'num_classes', None) or None)
        patch = getattr(getattr(network, 'patch_embed', None), 'patch_size', None)
        self.patch = None if patch is None else pair(patch)
        if self.patch is not None:
            check_patches(self.name, settings.size, self.patch)

    def last_feature(self, inputs: Tensor) -> LastFeature:
        """Return the last feature of images ``(N, 3, H, W)``."""
        output = self.network.forward_features(inputs)
        if not isinstance(output, Tensor):
            raise InputError(f'{self.name} outputs a {type(output).__name__}, not one last feature')
        vector = self.network.forward_head(output, pre_logits=True).flatten(1)
        logits = None if self.num_classes is None else self.network.forward_head(output)
        return LastFeature(self._map(output, tuple(inputs.shape[2:])), vector, logits)

    def _map(self, output: Tensor, size: tuple[int, int]) -> Tensor:
        if output.ndim == 4:
            is_last = str(getattr(self.network, 'output_fmt', '')).endswith('NHWC')
            return output.permute(0, 3, 1, 2) if is_last else output
        length = output.shape[1] if output.ndim == 3 else 0
        found = grid_of_patches(size, self.patch or (1, 1), length)
        if found is None:
            raise InputError(
                f'{self.name}: its last feature {tuple(output.shape)} is not a map, and no grid of patches '
                f'of an image of {size[0]}x{size[1]}'
            )
        return token_map(output, *found)


def _check_name(name: str) -> None:
    """Refuse a name that timm does not have; the message has the nearest ones."""
    import timm

    if ':' in name:  # On the hub or in a folder.
        return
    architecture, _, tag = name.partition('.')
    names = timm.list_models()
    if timm.is_model(architecture):
        tagged = [each for each in timm.list_pretrained() if each.startswith(f'{architecture}.')]
        if not tag or name in tagged:
            return
        names = tagged
    elif tag:
        names = timm.list_pretrained()
    nearest = difflib.get_close_matches(name, names, n=3, cutoff=0.0)
    raise InputError(f'timm has no network {name!r}; nearest: {", ".join(nearest) or "none"}')


def _overlay(weights: dict[str, Tensor], num_classes: int | None) -> dict[str, Any]:
    """Return what makes timm load these weights in place of its own."""
    overlay: dict[str, Any] = dict(state_dict=weights, source='', custom_load=False)
    if num_classes is not None:  # Otherwise timm would draw another classifier.
        overlay.update(num_classes=num_classes, label_offset=0)
    return overlay


def _built(
    name: str, pretrained: bool, checkpoint: str | None, options: dict[str, Any]
) -> nn.Module:
    import timm

    try:
        with nullcontext() if pretrained else same_weights():
            try:
                return timm.create_model(name, pretrained=pretrained, **options)
            except TypeError as error:
                if 'img_size' not in str(error) or 'img_size' not in options:
                    raise
            options = {key: value for key, value in options.items() if key != 'img_size'}
            return timm.create_model(name, pretrained=pretrained, **options)
    except Exception as error:
        if checkpoint is not None:
            raise InputError(
                f'teacher_checkpoint {checkpoint} does not fit timm::{name}: {one_line(error)}'
            ) from error
        raise not_loaded(f'timm::{name}', error) from error


def _built_size(network: nn.Module) -> tuple[int, int] | None:
    """Return the ``(H, W)`` that a transformer was built for; None of a network for any size."""
    embedding = getattr(network, 'patch_embed', None)
    size = getattr(embedding, 'img_size', None)
    is_fixed = getattr(embedding, 'strict_img_size', True)
    return pair(size) if size is not None and is_fixed else None
