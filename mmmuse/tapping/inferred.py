"""Arguments of a part that follow from the tapped features."""

from collections.abc import Mapping, Sequence

from mmmuse.errors import InputError


def without_inferred(config: Mapping, part: str, **inferred: object) -> dict:
    """Return a part's config without what is inferred; what it gives of it has to agree.

    Args:
        config: Of the part.
        part: Its name, for the message.
        **inferred: Arguments by name; None where one cannot be inferred.

    Raises:
        InputError: If the config gives another value, another number of channels for instance.
    """
    for name, value in inferred.items():
        given = config.get(name)
        if isinstance(given, Sequence):
            given = list(given)
        if given is not None and value is not None and given != value:
            raise InputError(
                f'{part}.{name} is {given} in the config and {value} in the tapped '
                'features; leave it out to have it inferred'
            )
    return {name: value for name, value in config.items() if inferred.get(name) is None}
