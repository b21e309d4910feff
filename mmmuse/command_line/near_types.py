"""The nearest registered type of a name in a config that is not one."""

from mmengine.registry import Registry

from .near_words import did_you_mean


def nearest_type(registry: Registry, name: str) -> str:
    """Return ``; did you mean ...?`` with the nearest type of a registry's tree; empty if none is near.

    Types that the registry finds without a scope come first, and those of the scope that the name has. The name is
    compared without its scope, so that ``MUSEHead`` leads to ``mmmuse.MUSEHead``.

    Args:
        registry: In which the name was looked up.
        name: With or without a scope.
    """
    scope, bare = registry.split_scope_key(name)
    root = registry.root
    children = sorted(root.children.values(), key=lambda child: child.scope != scope)
    full: dict[str, str] = {}
    if scope is None:
        full = {each: each for level in (registry, root) for each in level.module_dict}
    for child in children:
        if child.scope == 'mmmuse':  # MMEngine imports the types of a scope when it looks one up.
            child.import_from_location()
        for each in child.module_dict:
            full.setdefault(each, f'{child.scope}.{each}')
    for each in root.module_dict:
        full.setdefault(each, each)
    return did_you_mean(bare, full, full)
