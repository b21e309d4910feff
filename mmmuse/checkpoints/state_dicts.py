"""Split a distiller's state dict into the student's weights and the others, and join them again."""

import re
from collections import OrderedDict

from torch import Tensor

from mmmuse.errors import InputError

_STUDENT = 'student.'
# Bias of the hidden layer of a concat critic, scale of the embedding of a dot critic.
_WIDTH_OF_CRITIC = ('.pair_score.hidden.bias', '.pair_score.local_embedding.norm.weight')
DISTILLER_KEY = 'distiller'  # Of a checkpoint: all weights except the student's.
# Beside MMEngine's own key of an EMA, which has the student's: the others that EMAHook has exchanged.
AVERAGES_KEY, DISTILLER_AVERAGES_KEY = 'ema_state_dict', 'distiller_ema'
_AVERAGED = 'module.'

# Former and current prefixes of a distiller's parameters. The current ones do not contain "head" or
# "neck": with these custom_keys of paramwise_cfg a user means the student's parameters.
_RENAMED = (
    (re.compile(r'^head\.'), 'muse.'),
    (re.compile(r'^neck\.'), 'adapters.'),
    (re.compile(r'^adapters\.bottlenecks\.'), 'adapters.branches.'),
    (re.compile(r'^(losses|transfers\.\w+\.\w+)\.(\d+)\.discrepancy\.'), r'\1.\2.'),
    (re.compile(r'^(exits\.\d+\.neck\.bottlenecks\.\d+)\.bottlenecks\.'), r'\1.branches.'),
    (re.compile(r'^(exits\.\d+)\.neck\.bottlenecks\.'), r'\1.adapter.branches.'),
    (re.compile(r'^(exits\.\d+)\.neck\.neck\.'), r'\1.adapter.fusion.'),
    (re.compile(r'^(exits\.\d+)\.bbox_head\.'), r'\1.predictor.'),
)


def with_current_names(weights: dict, prefix: str = '') -> dict:
    """Rename the weights that an earlier version saved, in place, and return them.

    Args:
        weights: A distiller's state dict, with or without the student.
        prefix: Common prefix of the distiller's names.
    """
    for name in [name for name in weights if name.startswith(prefix)]:
        own = name.removeprefix(prefix)
        for pattern, replacement in _RENAMED:
            own = pattern.sub(replacement, own)
        if prefix + own != name:
            weights[prefix + own] = weights.pop(name)
    return weights


def with_plain_names(weights: dict, prefix: str = _STUDENT) -> OrderedDict:
    """Return the weights of one network, and its modules' versions, without the prefix.

    Args:
        weights: A distiller's state dict.
        prefix: Of the network's names; the student's by default.
    """
    plain = OrderedDict(
        (name.removeprefix(prefix), value)
        for name, value in weights.items()
        if name.startswith(prefix)
    )
    plain._metadata = OrderedDict(
        (f'{name}.'.removeprefix(prefix).removesuffix('.'), version)
        for name, version in getattr(weights, '_metadata', {}).items()
        if f'{name}.'.startswith(prefix)
    )
    return plain


def with_distiller_names(weights: dict) -> OrderedDict:
    """Return a student's weights under the distiller's names; those that have them are unchanged."""
    if any(_STUDENT in name for name in weights):
        return weights
    plain = OrderedDict((name.removeprefix('module.'), value) for name, value in weights.items())
    plain._metadata = getattr(weights, '_metadata', {})
    return _with_prefix(plain, _STUDENT)


def _with_prefix(weights: dict, prefix: str) -> OrderedDict:
    prefixed = OrderedDict((prefix + name, value) for name, value in weights.items())
    prefixed._metadata = OrderedDict(
        (f'{prefix}{name}'.removesuffix('.'), version)
        for name, version in getattr(weights, '_metadata', {}).items()
    )
    return prefixed


def split_averages(averages: dict) -> tuple[OrderedDict, dict]:
    """Split the state dict of a distiller's average, as a checkpoint's is.

    Args:
        averages: Of MMEngine's ``BaseAveragedModel``, ``module.student...``, ``module.muse...`` and ``steps``.

    Returns:
        That of an average of the plain student, and the other weights without ``module.``.
    """
    weights = with_plain_names(averages, _AVERAGED)
    student = _with_prefix(with_plain_names(weights), _AVERAGED)
    student.update((name, averages[name]) for name in averages if not name.startswith(_AVERAGED))
    return student, split_state_dict(weights)[1]


def join_averages(averages: dict, others: dict) -> OrderedDict:
    """Return the state dict of a distiller's average from the parts of :func:`split_averages`.

    Args:
        averages: Of the plain student; or, as earlier versions saved it, of the distiller.
        others: Weights without ``module.``; empty of a plain run's checkpoint.
    """
    weights = with_distiller_names(with_plain_names(averages, _AVERAGED))
    weights.update(others)
    joined = _with_prefix(with_current_names(weights), _AVERAGED)
    joined.update((name, averages[name]) for name in averages if not name.startswith(_AVERAGED))
    return joined


def split_state_dict(weights: dict) -> tuple[dict, dict]:
    """Return the student's weights and all others, both under their full names."""
    student = {name: value for name, value in weights.items() if name.startswith(_STUDENT)}
    return student, {name: value for name, value in weights.items() if name not in student}


def check_same(part: str, model: dict, file: dict, path: str = 'the checkpoint') -> None:
    """Check that a checkpoint has the names, shapes and kinds of number of a model's weights.

    Args:
        part: What is compared, for the message.
        model: Weights of the model.
        file: Weights of the checkpoint.
        path: Of the checkpoint, for the message.

    Raises:
        InputError: If they differ; the message names the tensors.
    """
    own, found = (
        {name: (tuple(value.shape), kind_of(value)) for name, value in weights.items()}
        for weights in (model, file)
    )
    differ = [
        f'{name.removeprefix(_STUDENT)} ({_written(name, own, found)} in the model, '
        f'{_written(name, found, own)} in the file)'
        for name in own.keys() | found.keys()
        if own.get(name) != found.get(name)
    ]
    if differ:
        more = f' and {len(differ) - 3} more' if len(differ) > 3 else ''
        raise InputError(
            f'{path} is of another {part}; these tensors differ: '
            f'{"; ".join(sorted(differ)[:3])}{more}{_hint_on_width(own, found)}'
        )


def _hint_on_width(own: dict, found: dict) -> str:
    """Return how to build critics of the file's width, which may be the default of another version."""
    for name in sorted(own.keys() & found.keys()):
        (shape, _), (own_shape, _) = found[name], own[name]
        if name.endswith(_WIDTH_OF_CRITIC) and len(shape) == 1 and shape != own_shape:
            width = shape[0]
            return f'; the critics of the file are {width} wide: set critic.hidden_channels={width}'
    return ''


def kind_of(value: Tensor) -> str:
    """Return the kind of a tensor's numbers: ``'floating'``, ``'complex'`` or ``'integer'``."""
    if value.is_complex():
        return 'complex'
    return 'floating' if value.is_floating_point() else 'integer'


def _written(name: str, these: dict, others: dict) -> str:
    """Describe a tensor, by its kind of number where only that differs."""
    if name not in these:
        return 'missing'
    shape, kind = these[name]
    same_shape = name in others and others[name][0] == shape
    return kind if same_shape else str(shape)
