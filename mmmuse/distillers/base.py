import logging
from collections.abc import Iterable, Sequence
from copy import deepcopy
from typing import Any, ClassVar

import torch
from mmengine.dist import get_world_size
from mmengine.logging import print_log
from mmengine.model import BaseModel
from torch import Tensor, nn

from mmmuse.arguments import with_checked_arguments
from mmmuse.checkpoints.state_dicts import with_current_names
from mmmuse.compat.compiling import is_compiling
from mmmuse.errors import InputError, NonFiniteLossError
from mmmuse.losses import INFORMATION_TERM, DistillLoss, refuse_mixed_labels
from mmmuse.registry import MODELS
from mmmuse.tapping.taps import TappedNetwork

from .added_weights import AddedWeights
from .library_teacher import is_library
from .own_total import with_own_total
from .student_attributes import StudentAttributes


@with_checked_arguments
class BaseDistiller(StudentAttributes):
    """Wrap an untouched OpenMMLab model, the student.

    A subclass owns the taps and the losses. This class owns the student and the
    check for non-finite losses. In ``tensor`` mode the distiller is the student, and what it has
    no attribute for is the student's: ``distiller.backbone``, ``distiller.extract_feat(images)``.
    Weights saved under the student's own names (any plain checkpoint) load into it.

    Args:
        student: Config of the student, or the built model, which keeps its weights: a runner
            does not initialise them again.
        data_preprocessor: For the student, if its config has none. A built student keeps its own.
        init_cfg: MMEngine's, for what is added to the student.

    Raises:
        InputError: If the student is not an OpenMMLab model, or is built and ``data_preprocessor`` is
            given.
    """

    # Whether the order of the images in a batch has a meaning.
    reads_batch_order: ClassVar[bool] = False

    def __init__(
        self,
        student: dict | nn.Module,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        student = build_student(student, data_preprocessor)
        super().__init__(student.data_preprocessor, init_cfg)
        self.student = student
        self.added_weights = AddedWeights()
        keep_weights(student)
        self.measures_gradients = False  # Set by InformationLoggerHook for a step.
        self._unchecked: tuple[list[str], Tensor] | None = None
        self._register_load_state_dict_pre_hook(_accept_other_names, with_module=True)

    def init_weights(self) -> None:
        """Initialise the weights, except those of networks that were given as built models."""
        kept = [
            module
            for module in self.modules()
            if isinstance(module, BaseModel) and module is not self and module.is_init
        ]
        # MMEngine applies an init_cfg of the distiller to every module in it.
        weights = [deepcopy(network.state_dict()) for network in kept] if self.init_cfg else []
        if not self.is_init:
            self.added_weights.forget()
        super().init_weights()
        if self.init_cfg:
            for network, values in zip(kept, weights, strict=True):
                network.load_state_dict(values)

    def forward(
        self, inputs: Tensor, data_samples: list | None = None, mode: str = 'tensor'
    ) -> Any:
        """Run the student in ``tensor`` mode, or :meth:`loss` or :meth:`predict`."""
        if mode == 'loss':
            if self.training and torch.is_grad_enabled():
                self.added_weights.trained = True
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        return self.student(inputs, data_samples, mode=mode)

    def loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """Return the student's losses; a subclass adds its own."""
        losses = self.student(inputs, data_samples, mode='loss')
        if 'loss' in losses:  # The name under which MMEngine logs the total.
            losses['loss_student'] = losses.pop('loss')
        return with_own_total(losses)

    def predict(self, inputs: Tensor, data_samples: list | None = None) -> list:
        """Return the student's predictions."""
        return self.student(inputs, data_samples, mode='predict')

    def train(self, mode: bool = True) -> 'BaseDistiller':
        """Set the mode, as for any module, and let the taps follow modules that were replaced.

        MMEngine calls it at the start of an epoch: also where it has compiled the step, in which
        the hooks cannot be moved.
        """
        for tapped in self.tapped_networks:
            tapped.follow()
        return super().train(mode)

    @property
    def tapped_networks(self) -> Iterable[TappedNetwork]:
        """The networks whose features are read."""
        return ()

    @property
    def distill_losses(self) -> list[DistillLoss]:
        """All losses between two features."""
        return []

    @property
    def label_readers(self) -> list[str]:
        """Names of what reads one class label of each image, and so needs images that are not mixed."""
        readers = (loss.name for loss in self.distill_losses if 'labels' in loss.reads)
        return list(dict.fromkeys(readers))

    def refuse_mixed_images(self, data_samples: Sequence) -> None:
        """Refuse a batch that an augmentation has mixed if anything reads labels.

        Raises:
            InputError: As :func:`mmmuse.losses.refuse_mixed_labels`.
        """
        if readers := self.label_readers:
            refuse_mixed_labels(data_samples, ' and '.join(readers))

    @property
    def records_gradient_ratio(self) -> bool:
        """Whether to log the gradients' ratio of this step; not possible under ``torch.compile``."""
        return self.measures_gradients and not is_compiling()

    @property
    def min_batch_size(self) -> int:
        """Images that the losses need in a batch, as the data set gives it."""
        return 1

    @property
    def needs_labels(self) -> str:
        """Names of the losses that have to see the training set's labels; see :meth:`prepare`."""
        return ''

    def prepare(self, labels: Tensor) -> None:
        """Look at the training set before weights are loaded and the first step is taken.

        MMEngine's runner, started by ``mmmuse train``, does it where
        :attr:`needs_labels` names a loss.

        Args:
            labels: Class of each of its M images, ``(M, )``.
        """

    def get_layer_depth(self, param_name: str) -> tuple[int, int]:
        """Return a parameter's layer and the number of layers, for layer-wise learning rates.

        Those of the student are its own; what the distiller adds counts as its last layer.

        Raises:
            InputError: If the student does not know its layers.
        """
        if not hasattr(self.student, 'get_layer_depth'):
            raise InputError(
                'layer-wise learning rates need student.get_layer_depth, and the student is a '
                f'{type(self.student).__name__}, which has none'
            )
        if param_name.startswith('student.'):
            return self.student.get_layer_depth(param_name.removeprefix('student.'))
        _, num_layers = self.student.get_layer_depth('head')
        return num_layers - 1, num_layers

    def parse_losses(self, losses: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Sum the losses as MMEngine does, and stop at one that is not finite.

        ``mi_loss_i`` and ``si_loss_i`` are logged and not summed: ``loss_muse`` holds them.

        On a GPU the values are looked at one step later, when they have long
        been computed, so that no step waits for them.

        Raises:
            NonFiniteLossError: Naming the terms.
        """
        self.check_finite()
        logged = {name: losses[name] for name in losses if INFORMATION_TERM.match(name)}
        loss, log_vars = super().parse_losses(
            {name: value for name, value in losses.items() if name not in logged}
        )
        log_vars.update(logged)
        values = torch.stack([value.detach().float() for value in log_vars.values()])
        self._unchecked = (list(log_vars), values)
        if not values.is_cuda:
            self.check_finite()
        return loss, log_vars

    def check_finite(self) -> None:
        """Look at the last step's losses, unless that has been done.

        Raises:
            NonFiniteLossError: Naming the terms that are NaN or infinite.
        """
        if self._unchecked is None:
            return
        names, values = self._unchecked
        self._unchecked = None
        finite = torch.isfinite(values).tolist()
        bad = [
            f'{name} = {value}'
            for name, value, ok in zip(names, values.tolist(), finite, strict=True)
            if not ok and name != 'loss'
        ]
        if not all(finite):
            raise NonFiniteLossError(f'the loss is not finite: {", ".join(bad) or "the sum"}')


def task_scale(network: nn.Module, data_samples: list) -> float:
    """Return the factor of a network's own losses against means over images; 1 for most.

    Args:
        network: An OpenMMLab model. A detector's head with ``scale_by_batch`` multiplies its
            losses by the batch size of all processes.
        data_samples: N samples.
    """
    head = getattr(network, 'bbox_head', None)
    return len(data_samples) * get_world_size() if getattr(head, 'scale_by_batch', False) else 1.0


def build_student(student: dict | nn.Module, data_preprocessor: dict | None) -> BaseModel:
    """Build a student from its config, or check a built one.

    Raises:
        InputError: If it is not an MMEngine model, or one of another library, by its name, or built and
            a data preprocessor is given.
    """
    if is_library(student):
        raise InputError(
            f'{student["name"]} can be a teacher only: a network that is trained is an OpenMMLab model'
        )
    if isinstance(student, dict):
        if data_preprocessor is not None:
            student = {'data_preprocessor': data_preprocessor, **student}
        student = MODELS.build(student)
        student._from_config = True  # Until keep_weights() has read it.
    elif isinstance(student, BaseModel) and data_preprocessor is not None:
        raise InputError(
            'data_preprocessor has no effect on a student that is a built model, which keeps its own: '
            'leave it out, or build the student with it'
        )
    if not isinstance(student, BaseModel):
        raise InputError(
            'the student is an OpenMMLab model (a subclass of mmengine.model.'
            f'BaseModel), got {type(student).__name__}'
        )
    return student


def keep_weights(network: BaseModel) -> None:
    """Have MMEngine's runner keep a network's weights, unless it was just built from its config.

    The log names modules with an ``init_cfg`` that loads a file and has not been applied.
    """
    if network.__dict__.pop('_from_config', False):
        return
    pending = [] if network.is_init else list(filter(_is_pretrained, network.modules()))
    if pending:
        print_log(
            f'{type(network).__name__} was given as a built model and keeps its weights: the file in '
            f'init_cfg of {", ".join(type(module).__name__ for module in pending)} is not loaded; '
            'give its config, or call its init_weights() before',
            logger='current',
            level=logging.WARNING,
        )
    network.is_init = True


def _is_pretrained(module: nn.Module) -> bool:
    config = getattr(module, 'init_cfg', None) or []
    configs = [config] if isinstance(config, dict) else config
    return any(str(each.get('type')).endswith('Pretrained') for each in configs)


def _accept_other_names(
    distiller: BaseDistiller, state_dict: dict, prefix: str, *args: Any
) -> None:
    """Take other files than a whole state dict of this version.

    A file may have the names of earlier versions, the student's names without ``student.`` (a
    plain checkpoint), only the distiller's own names (the key ``distiller`` of a checkpoint), or
    both of the latter.
    """
    names = [name for name in state_dict if name.startswith(prefix)]
    if any(name.startswith(f'{prefix}student.') for name in names):
        with_current_names(state_dict, prefix)
        distiller.added_weights.note_loaded(distiller, state_dict, prefix)
        return
    of_student = distiller.student.state_dict().keys()
    parts = {name for name, _ in distiller.named_children()} - {'student'}

    def is_own(name: str) -> bool:
        return name not in of_student and name.partition('.')[0] in parts

    current = with_current_names({name.removeprefix(prefix): None for name in names})
    if names and all(map(is_own, current)):
        with_current_names(state_dict, prefix)
    else:
        for name in names:
            own = name.removeprefix(prefix)
            if not is_own(own):
                state_dict[f'{prefix}student.{own}'] = state_dict.pop(name)
    distiller.added_weights.note_loaded(distiller, state_dict, prefix)
