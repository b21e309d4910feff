"""The classifier of an exit follows the student's head."""

from collections.abc import Mapping

from torch import nn

from mmmuse.errors import InputError
from mmmuse.tapping.logits_kind import is_multi_label

# Heads of mmpretrain that have logits and no class of an image.
_WITHOUT_CLASSES = {
    'MultiTaskHead': 'has several tasks',
    'RegressionHead': 'predicts numbers',
}


def loss_of(student: nn.Module) -> nn.Module | None:
    """Return the loss module of a classifier's logits, if it has one."""
    for owner in (getattr(student, 'head', None), student):
        loss = getattr(owner, 'loss_module', None)
        if isinstance(loss, nn.Module):
            return loss
    return None


def exit_config(student: nn.Module, exit: Mapping) -> dict:
    """Return the config of an exit's classifier, of the kind of the student's head, with its loss.

    Args:
        student: An OpenMMLab model.
        exit: The user's config of the classifier, which is merged into it.
    """
    loss = loss_of(student)
    inferred = {} if loss is None else dict(loss=loss)
    return {**inferred, **exit_head_config(student, exit)}


def exit_head_config(student: nn.Module, exit: Mapping) -> dict:
    """Return :func:`exit_config` without the loss."""
    head = getattr(student, 'head', None)
    if not is_multi_label(head) or exit.get('type') is not None:
        return dict(exit)
    kind = dict(type='mmpretrain.MultiLabelLinearClsHead', _scope_='mmpretrain')
    return {**kind, 'thr': head.thr, 'topk': head.topk, **exit}


def why_no_classes(student: nn.Module) -> str | None:
    """Return why the head of a student gives no class logits; None if that is not known."""
    head = getattr(student, 'head', None)
    reasons = [_WITHOUT_CLASSES.get(kind.__name__) for kind in type(head).__mro__]
    reason = next(filter(None, reasons), None)
    return reason and f'the head {type(head).__name__} of the student {reason}'


def check_has_classes(student: nn.Module) -> None:
    """Refuse exits of a student whose head gives no class logits.

    Raises:
        InputError: Naming the head.
    """
    why = why_no_classes(student)
    if why is not None:
        raise InputError(
            f'exits need class logits, and {why}: leave the exits out with ce_weight=0, kd_weight=0 '
            'in the head'
        )
