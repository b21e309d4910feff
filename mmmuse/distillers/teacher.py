from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from mmmuse.checkpoints.files import read_checkpoint
from mmmuse.checkpoints.network_config import network_config, whole_config
from mmmuse.checkpoints.state_dicts import check_same, with_distiller_names, with_plain_names
from mmmuse.errors import InputError
from mmmuse.registry import MODELS
from mmmuse.tapping.dense_head import HEAD, HeadPass, HeadSpec
from mmmuse.tapping.dry_run import is_detector
from mmmuse.tapping.features import DistillFeatures
from mmmuse.tapping.loaded_order import ImageOrder, loaded_order
from mmmuse.tapping.taps import TappedNetwork, features_of
from mmmuse.tapping.token_maps import with_grids
from mmmuse.teachers import LibraryNetwork

from .frozen_network import FrozenNetwork
from .input_conversion import InputConversion
from .library_teacher import build_library_network, is_library, library_taps
from .unlabelled import without_labels


class Teacher(FrozenNetwork):
    """A frozen teacher, which returns its features for a student's batch.

    It runs in eval mode and without gradient, and is not an ``nn.Module``; see
    :class:`FrozenNetwork`. Its head does not run if all taps are in backbone and neck.

    Args:
        network: The built network, with its weights.
        taps: As a distiller's. Of a network of another library by default its last map and, if it has
            a classifier, the logits; see :class:`mmmuse.teachers.LibraryNetwork`.
        conversion: From the student's images to the teacher's.
        input_shape: ``(C, H, W)`` of the dry run.

    Raises:
        InputError: If the taps are unusable.

    Attributes:
        specs: Shapes of its features.
        reads_head: Whether to run the dense head of a detector for the losses; a distiller sets it.
    """

    needs_labels = False

    def __init__(
        self,
        network: BaseModel,
        taps: dict | str | None,
        conversion: InputConversion,
        input_shape: Sequence[int] | None = None,
    ) -> None:
        missing = None
        if isinstance(network, LibraryNetwork):
            taps, missing = library_taps(network, taps)
        tapped = TappedNetwork(network, taps, input_shape, name='teacher_taps')
        super().__init__(network, taps=tapped.taps)
        self.paths = tapped.paths
        self._num_prefix_tokens = tapped.num_prefix_tokens
        # A frozen margin head gets no targets, and its logits are those of a test.
        kind = 'classes' if tapped.specs.kind == 'margin' else tapped.specs.kind
        self.specs = replace(tapped.specs, kind=kind, head=HeadSpec.of(network), no_logits=missing)
        self.conversion = conversion
        self.runs_head = not hasattr(network, 'extract_feat') or any(
            path.split('.')[0].split('[')[0] not in ('backbone', 'neck') for path in self.paths.all
        )
        self.reads_head = False

    @torch.no_grad()
    def __call__(self, inputs: Tensor, data_samples: list | None = None) -> DistillFeatures:
        """Return the teacher's features of the student's images ``(N, C, H, W)``.

        Args:
            inputs: As the student's data preprocessor gives them.
            data_samples: Of the N images; only the sizes in them are read, never the labels.
        """
        size = inputs.shape[2:]
        inputs = self.conversion(inputs)
        head = None
        with self.taps:
            if self.reads_head:
                maps = self.model.extract_feat(inputs)
                module = self.model.get_submodule(HEAD)
                head = HeadPass.of(module, maps, module(maps))
            elif not self.runs_head:
                self.model.extract_feat(inputs)
            elif is_detector(self.model):
                samples = without_labels(data_samples, size, inputs.shape[2:])
                self.model(inputs, samples, mode='tensor')
            else:
                self.model(inputs, mode='tensor')
            tapped = with_grids(self.taps.pop(), self._num_prefix_tokens, inputs.shape[2:])
            features = features_of(self.paths, tapped)
        features.head = head
        return features

    def convert(self, fn: Callable[[Tensor], Tensor]) -> None:
        """Apply a conversion of ``nn.Module._apply``, such as ``.to()``, to every tensor."""
        if self._shared:
            self.conversion = deepcopy(self.conversion)
        super().convert(fn)
        self.conversion._apply(fn)


def build_teacher_network(
    teacher: dict | str | BaseModel,
    checkpoint: str | None,
    trust: bool = False,
    input_size: int | None = None,
) -> BaseModel:
    """Build a teacher from its config and checkpoint, or from its name.

    Args:
        teacher: Config of the model or a complete config, the path of a config file or
            ``'mmpretrain::folder/file.py'``; a name, ``'timm::NAME'`` or
            ``dict(name='timm::NAME', pretrained=False)``; or the built model, with its weights.
        checkpoint: Path or address of its weights, a distiller's or plain ones; None
            for a built model, or for the weights that a name stands for.
        trust: Load a file that holds more than weights.
        input_size: Height and width that a network given by its name is built for.

    Raises:
        InputError: If the config does not exist, or the file is missing, damaged, of
            another network (the message names the tensors) or holds more than weights.
    """
    if isinstance(teacher, nn.Module):
        if not isinstance(teacher, BaseModel):
            raise InputError(f'the teacher is an OpenMMLab model, got {type(teacher).__name__}')
        network = deepcopy(teacher)
    elif is_library(teacher):
        return build_library_network(teacher, checkpoint, trust, input_size)
    else:
        network = MODELS.build(network_config(teacher))
    if checkpoint is not None:
        load_teacher_weights(network, checkpoint, trust)
    elif not isinstance(teacher, nn.Module):
        raise InputError('the teacher has no trained weights: set teacher_checkpoint')
    return network


def teacher_loaded_order(teacher: dict | str | BaseModel) -> ImageOrder | None:
    """Return the order of the channels that a teacher's own pipeline loads.

    None for a built model, or one whose config has no data.
    """
    config = None if isinstance(teacher, nn.Module) else whole_config(teacher)
    return None if config is None else loaded_order(config)


def load_teacher_weights(network: BaseModel, path: str, trust: bool = False) -> None:
    """Load a checkpoint, which must have exactly the teacher's tensors.

    Raises:
        InputError: See :func:`build_teacher_network`.
    """
    flag = 'pass --trust-checkpoint or set trust_teacher=True'
    try:
        content = read_checkpoint(path, trust, flag)
        weights = with_distiller_names(content.get('state_dict', content))
        weights = dict(with_plain_names(weights))
        own = network.state_dict()
        for name, value in own.items():  # Older files lack these; eval mode does not use them.
            if name.endswith('num_batches_tracked'):
                weights.setdefault(name, value)
        check_same('network', own, weights)
    except InputError as error:
        raise InputError(f'teacher_checkpoint {path}: {error}') from error
    network.load_state_dict(weights)
    network._is_init = True
