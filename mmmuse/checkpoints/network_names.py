"""Names of networks in other libraries: ``'timm::vit_small_patch14_dinov2.lvd142m'``."""

from collections.abc import Mapping
from typing import Any

from mmmuse.errors import InputError

# The class that builds a library's networks.
LIBRARIES = {'timm': 'mmmuse.TimmNetwork', 'transformers': 'mmmuse.TransformersNetwork'}


def is_network_name(source: Any) -> bool:
    """Return whether a network is given by its name in timm or transformers.

    Args:
        source: ``'timm::NAME'`` or ``dict(name='timm::NAME', ...)``; anything else is none.
    """
    if isinstance(source, Mapping) and 'type' not in source:
        source = source.get('name')
    return isinstance(source, str) and source.partition('::')[0] in LIBRARIES and '::' in source


def named_network_config(source: Mapping | str) -> dict:
    """Return the config of a network that is given by its name.

    Args:
        source: See :func:`is_network_name`; the other keys of a dict are the arguments of
            :class:`mmmuse.teachers.LibraryNetwork`.

    Raises:
        InputError: If there is nothing after ``::``.
    """
    options = dict(source) if isinstance(source, Mapping) else dict(name=source)
    library, _, name = options.pop('name').partition('::')
    if not name:
        raise InputError(f'{library}:: is followed by the name of a network')
    return dict(type=LIBRARIES[library], name=name, **options)


def is_teacher_entry(item: Any) -> bool:
    """Return whether an item of a list of teachers has options beside the teacher."""
    return isinstance(item, Mapping) and 'teacher' in item
