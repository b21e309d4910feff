from collections.abc import Sequence

from mmmuse.errors import InputError
from mmmuse.registry import MODELS
from mmmuse.tapping.features import NetworkSpecs

from .distill_loss import DistillLoss, Edge
from .phases import span_of


def build_edge(configs: Sequence[dict], learner: NetworkSpecs, source: NetworkSpecs) -> Edge:
    """Build the losses of an edge from their configs; see :func:`build_loss`."""
    return Edge(build_loss(config, learner, source) for config in configs)


def build_logits_edge(
    config: dict, learner: NetworkSpecs, source: NetworkSpecs, option: str
) -> Edge:
    """Build the one loss with which the logits of an exit learn from the last ones.

    Args:
        config: As for :func:`build_loss`.
        learner: Shapes of the exit: its logits.
        source: Shapes of the last logits; another object than ``learner``.
        option: Where the config stands, for the message.

    Raises:
        InputError: If it reads more than logits and labels, or as :func:`build_loss`.
    """
    kind = _kind(config.get('type'), within=False)
    if not kind.reads <= {'logits', 'labels'}:
        raise InputError(
            f'{option}: {kind.__name__} reads {", ".join(sorted(kind.reads - {"logits", "labels"}))}, and an exit '
            'has only logits: choose a loss of logits, such as mmmuse.KDLoss or mmmuse.DKDLoss'
        )
    return build_edge([{**config, 'type': kind}], learner, source)


def build_loss(config: dict, learner: NetworkSpecs, source: NetworkSpecs) -> DistillLoss:
    """Build a loss from its config.

    Args:
        config: With its ``type``, a registered subclass of :class:`DistillLoss`. ``epochs=(0, 60)`` or
            ``iters=(...)`` has it count only in these, from 0, ``(60, None)`` to the end.
        learner: Shapes of the network that learns.
        source: Shapes of the network that it learns from; the same object as ``learner``
            within one network.

    Raises:
        InputError: If it is not a config, there is no such loss (the message lists those that
            are available), or the networks lack what it reads.
    """
    if not isinstance(config, dict):
        raise InputError(f"a loss is a config, dict(type='...'), got {config!r}")
    config, span = span_of(config)
    kind = _kind(config.get('type'), source is learner)
    config = {**config, 'type': kind}  # Also a name without the prefix of mmmuse.
    loss = MODELS.build(config, default_args=dict(learner=learner, source=source))
    loss.span = span
    return loss


def _kind(name: object, within: bool) -> type[DistillLoss]:
    """Return the class of a loss by its name; refuse one that there is not."""
    kind = MODELS.get(name) if isinstance(name, str) else name
    if not _suits(kind, within):
        available = sorted(
            f'mmmuse.{name}' for name, kind in MODELS.module_dict.items() if _suits(kind, within)
        )
        where = 'within one network' if within else 'between networks'
        if isinstance(kind, type) and issubclass(kind, DistillLoss):
            why = 'compares two networks' if within else "reads a head's exits"
            raise InputError(
                f'{kind.__name__} {why}; {where} choose another loss: {", ".join(available)}'
            )
        raise InputError(f'unknown loss {where} {name!r}; available: {", ".join(available)}')
    return kind


def _suits(kind: object, within_one_network: bool) -> bool:
    if not (isinstance(kind, type) and issubclass(kind, DistillLoss)):
        return False
    return not kind.needs_two_networks if within_one_network else 'exits' not in kind.reads
