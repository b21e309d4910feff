"""Which decode heads can be an exit, and what an exit's head has from the student's."""

import inspect
from copy import deepcopy

from mmseg.models.decode_heads.cascade_decode_head import BaseCascadeDecodeHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn

from mmmuse.errors import InputError
from mmmuse.tapping.logits_kind import last_decode_head

_SHARED = (
    *('channels', 'num_classes', 'out_channels', 'threshold', 'norm_cfg', 'act_cfg'),
    *('align_corners', 'ignore_index', 'dropout_ratio'),
)
_INSTEAD = "give the exit a head of its own, exit=dict(decode_head=dict(type='FCNHead'))"


def check_exit_head(head: nn.Module) -> None:
    """Check that a decode head can be an exit: from maps to one map of logits, and their loss.

    Raises:
        InputError: If it needs the output of another head (a cascade), or has another interface: a
            ``loss_by_feat`` of its own has to annotate the logits as ``Tensor``.
    """
    name = type(head).__name__
    if isinstance(head, nn.ModuleList):
        kinds = ', '.join(type(each).__name__ for each in head)
        raise InputError(f'a cascade of decode heads ({kinds}) cannot be an exit: {_INSTEAD}')
    if isinstance(head, BaseCascadeDecodeHead):
        raise InputError(
            f'{name} cannot be an exit: it is part of a cascade and reads the output of another decode '
            f'head; {_INSTEAD}'
        )
    if not isinstance(head, BaseDecodeHead):
        raise InputError(
            f'{name} cannot be an exit: it is not a decode head that maps features to logits; {_INSTEAD}'
        )
    for what, has_own in (
        ('loss', type(head).loss is not BaseDecodeHead.loss or not _takes_one_map(head)),
        ('prediction', type(head).predict is not BaseDecodeHead.predict),
    ):
        if has_own:
            raise InputError(
                f'{name} cannot be an exit: it does not compute its {what} from one map of logits; '
                f'{_INSTEAD}'
            )


def _takes_one_map(head: BaseDecodeHead) -> bool:
    """Whether the loss is BaseDecodeHead's, or by its annotation one of a tensor."""
    method = type(head).loss_by_feat
    if method is BaseDecodeHead.loss_by_feat:
        return True
    _, logits, *_ = inspect.signature(method).parameters.values()
    return logits.annotation in (Tensor, 'Tensor', 'torch.Tensor')


def has_plain_loss(head: nn.Module) -> bool:
    """Whether any decode head can have the losses of this one: they are called as mmseg's base class does.

    DDRHead and PIDHead call theirs with other arguments.
    """
    return type(head).loss_by_feat is BaseDecodeHead.loss_by_feat


def head_on_feature(given: dict, student: nn.Module, config: dict, channels: int) -> dict:
    """Return the config of a decode head that reads the feature of an exit alone.

    Args:
        given: What the exit's config says.
        student: The segmenter, which gives what is left out.
        config: Its config; empty if it was given built.
        channels: Of the feature.

    Raises:
        InputError: If it has other classes than the student.
    """
    head = last_decode_head(student)
    for name in ('num_classes', 'out_channels'):
        theirs = getattr(head, name)
        if given.get(name) not in (None, theirs):
            raise InputError(
                f'exit.decode_head.{name} is {given[name]} and that of the student {theirs}: leave it '
                'out, an exit has the logits of the student'
            )
    own = {name: getattr(head, name) for name in _SHARED if hasattr(head, name)}
    own = {name: deepcopy(value) for name, value in own.items() if value is not None}
    own.update(in_channels=channels, in_index=0)
    kind = given.get('type')
    if str(getattr(kind, '__name__', kind)).rpartition('.')[2] == 'FCNHead':
        own.update(num_convs=1, concat_input=False)
    of_student = config.get('decode_head') or {}
    if isinstance(of_student, (list, tuple)):
        of_student = of_student[-1]
    if 'loss_decode' in of_student and has_plain_loss(head):
        own['loss_decode'] = deepcopy(of_student['loss_decode'])
    return {**own, **given}
