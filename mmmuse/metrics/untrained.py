from collections.abc import Sequence

from mmmuse.errors import InputError


def refuse_untrained(metric: str, data_samples: Sequence[dict]) -> None:
    """Refuse predictions in which a distiller has left out what was never trained or loaded.

    Raises:
        InputError: With the distiller's reason.
    """
    for sample in data_samples:
        if 'untrained' in sample:
            raise InputError(
                f'{metric}: {sample["untrained"]}; to evaluate only the student, use its plain '
                'config or remove this metric'
            )
