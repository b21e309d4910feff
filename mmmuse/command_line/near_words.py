"""Words that are one or two letters apart."""

import difflib
from collections.abc import Iterable, Mapping


def edits(one: str, other: str) -> int:
    """Return the number of letters to insert, delete, replace or swap with the next one.

    Source: optimal string alignment (Damerau, 1964), where no part is edited twice.

    Example:
        >>> edits('tarin', 'train'), edits('hook', 'hooks'), edits('vit', 'val'), edits('', 'abc')
        (1, 1, 2, 3)
    """
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        above, row = row, [i]
        for j, wanted in enumerate(other, 1):
            cost = min(above[j] + 1, row[-1] + 1, above[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before = above
    return row[-1]


def mistyped_word(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that a word is one or two letters from, if there is one.

    In words of several parts (``train_cfg``) each part has at most one wrong letter, or two if it is
    longer than five: ``conv_cfg`` is not a mistyped ``env_cfg``.

    Example:
        >>> known = ['train_cfg', 'env_cfg', 'custom_hooks', 'train_dataloader']
        >>> [mistyped_word(word, known) for word in ('tarin_cfg', 'custom_hook', 'traindataloader')]
        ['train_cfg', 'custom_hooks', 'train_dataloader']
        >>> [mistyped_word(word, known) for word in ('conv_cfg', 'my_lr', 'train_pipeline')]
        [None, None, None]
    """
    near = {other: edits(word, other) for other in known if _is_near(word, other)}
    return min(near, key=near.__getitem__) if near else None


def did_you_mean(word: str, known: Iterable[str], written: Mapping[str, str] | None = None) -> str:
    """Return the end of a message about an unknown word, with the nearest known one; empty if none is near.

    Args:
        word: That is not known.
        known: Words to compare it with.
        written: How to write each of them; as they are by default.

    Example:
        >>> did_you_mean('hiden_channels', ['hidden_channels', 'normalize'])
        "; did you mean 'hidden_channels'?"
        >>> did_you_mean('learning_rate', ['lr', 'momentum'])
        ''
    """
    nearest = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    suggested = (written or {}).get(nearest[0], nearest[0]) if nearest else word
    return '' if suggested == word else f'; did you mean {suggested!r}?'


def _is_near(word: str, other: str) -> bool:
    if abs(len(word) - len(other)) > 2 or not 0 < edits(word, other) <= 2:
        return False
    parts, wanted = word.split('_'), other.split('_')
    if len(parts) != len(wanted):
        return word.replace('_', '') == other.replace('_', '')
    pairs = zip(parts, wanted, strict=True)
    return all(edits(part, other) <= (2 if len(other) > 5 else 1) for part, other in pairs)
