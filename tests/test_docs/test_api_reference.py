"""The API reference has every part of mmmuse, and names what exists."""

import ast
import re
from importlib import import_module

from .blocks import DOCS, ROOT

PAGES = sorted((DOCS / 'api').glob('*.md'))
NAMED = [
    name
    for page in PAGES
    for name in re.findall(r'^::: (\S+)$', page.read_text(), flags=re.MULTILINE)
]


def registered() -> set[str]:
    """Return the dotted names of the classes and functions with a decorator ``register_module``."""
    return {
        '.'.join([*path.relative_to(ROOT).with_suffix('').parts, node.name])
        for path in (ROOT / 'mmmuse').rglob('*.py')
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
        and any('register_module' in ast.unparse(mark) for mark in node.decorator_list)
    }


def test_every_registered_part_is_in_the_reference():
    assert registered() - set(NAMED) == set()


def test_nothing_is_in_it_twice():
    assert len(NAMED) == len(set(NAMED))


def test_everything_in_it_exists_and_has_a_docstring():
    for name in NAMED:
        module, _, member = name.rpartition('.')
        assert getattr(import_module(module), member).__doc__, name
