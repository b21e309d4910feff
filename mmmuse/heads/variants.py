"""The named variants of self-distillation: the rows of the paper's tables 5 and 6, and BYOT.

A variant is the losses that are added to a network. Row "L2 + CE + KD" of table 5 is ``'byot'``. BYOT
also weights the network's own cross-entropy by 1 - alpha; that is in the network's config
(``configs/byot/``), not here.
"""

from copy import deepcopy
from typing import Any

from mmmuse.errors import InputError

_NO_EXITS = dict(ce_weight=0.0, kd_weight=0.0)
_CE = dict(kd_weight=0.0)
_L2 = dict(discrepancy=dict(type='mmmuse.HintLoss'))


def _muse(combine: str) -> dict:
    critic = dict(num_locations='auto')
    return dict(discrepancy=dict(type='mmmuse.MUSELoss', combine=combine, critic=critic))


VARIANTS: dict[str, dict[str, Any]] = {
    'mi_x_si': _muse('multiplicative'),
    'mi_plus_si': _muse('additive'),
    'byot': _L2,
    'ce': _CE,
    'ce_kd': {},
    'l2': {**_L2, **_NO_EXITS},
    'l2_ce': {**_L2, **_CE},
    'mi': {**_muse('mi'), **_NO_EXITS},
    'si': {**_muse('si'), **_NO_EXITS},
    'mi_ce': {**_muse('mi'), **_CE},
    'mi_ce_kd': _muse('mi'),
    'mi_plus_si_alone': {**_muse('additive'), **_NO_EXITS},
    'mi_x_si_alone': {**_muse('multiplicative'), **_NO_EXITS},
    'mi_plus_si_ce': {**_muse('additive'), **_CE},
    'mi_x_si_ce': {**_muse('multiplicative'), **_CE},
    'mmd_ce': {'discrepancy': dict(type='mmmuse.MMDLoss'), **_CE},
    'adversarial_ce': {'discrepancy': dict(type='mmmuse.AdversarialLoss'), **_CE},
    'vid_ce': {'discrepancy': dict(type='mmmuse.VIDLoss'), **_CE},
}


def variant_head(name: str) -> dict[str, Any]:
    """Return the config of ``mmmuse.MUSEHead`` for a named variant.

    Raises:
        InputError: If the variant is unknown.
    """
    if not isinstance(name, str) or name not in VARIANTS:
        raise InputError(f'unknown variant {name!r}; available: {", ".join(VARIANTS)}')
    return dict(type='mmmuse.MUSEHead', **deepcopy(VARIANTS[name]))


def variant_parts(
    name: str, neck: dict[str, Any] | None = None
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return the configs of a named variant's head and neck.

    Args:
        name: A key of :data:`VARIANTS`.
        neck: Config of the neck, ``dict(type='mmmuse.SelfDistillNeck')`` if None.

    Returns:
        The head's config, and the neck's, or None if the variant does not read the exits' maps.

    Raises:
        InputError: If the variant is unknown.
    """
    head = variant_head(name)
    has_exits = head.get('ce_weight', 1) or head.get('kd_weight', 1)
    if has_exits or head['discrepancy'] == _L2['discrepancy']:
        return head, neck or dict(type='mmmuse.SelfDistillNeck')
    return head, None
