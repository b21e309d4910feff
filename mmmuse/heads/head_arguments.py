from collections.abc import Sequence
from typing import Any

from typing_extensions import TypedDict


class HeadArguments(TypedDict, total=False):
    """Keyword arguments of :class:`mmmuse.heads.MUSEHead`, for type checkers and editors."""

    num_classes: int | None
    exit: dict[str, Any] | None
    kd: dict[str, Any] | None
    discrepancy: dict[str, Any] | Sequence[dict[str, Any]] | None
    ce_weight: float
    kd_weight: float
    init_cfg: dict[str, Any] | None
