"""The table of the package layout in docs/design.md is what the files import."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import mmmuse

from .blocks import DOCS

PACKAGE = Path(mmmuse.__file__).parent
# What every row below may import, by the sentence under the table.
SHARED = {'errors', 'version', 'arguments', 'environment', 'registry'}
# The lazy public surface, and ``python -m mmmuse``.
OUTSIDE = {'__init__', '__main__'}


def rows_of(page: Path) -> list[tuple[list[str], set[str]]]:
    """Return the names in each row of the table that the package has, and what the row imports."""
    section = page.read_text(encoding='utf-8').split('## Package layout')[1]
    rows = []
    for line in re.findall(r'^\| `.*$', section, flags=re.MULTILINE):
        path, _, imports, _ = (cell.strip() for cell in line[1:].rstrip().rstrip('|').split('|'))
        names = [re.sub(r'/$|\.py$', '', name) for name in re.findall(r'`([^`]+)`', path)]
        names = [name for name in names if files_of(name)]
        above = {name for row, _ in rows for name in row}
        imports = re.sub(r'\(.*?\)|;.*', '', imports)  # After the semicolon: by registry.
        named = above if imports == 'all of the above' else set(re.findall(r'\w+', imports))
        if names:
            rows.append((names, named))
    return rows


def files_of(name: str) -> list[Path]:
    file = PACKAGE / f'{name}.py'
    return [file] if file.is_file() else sorted((PACKAGE / name).rglob('*.py'))


def imported(path: Path) -> Iterator[str]:
    """Yield the folders and root files of the package that a file imports."""
    folder = ('mmmuse', *path.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = folder[: len(folder) - node.level + 1] if node.level else ()
            module = '.'.join([*above, *filter(None, [node.module])])
            modules = [f'{module}.{alias.name}' for alias in node.names]
        for module in modules:
            first, *rest = module.split('.')
            if first == 'mmmuse' and rest:
                yield rest[0]


def imports_of(names: list[str]) -> set[str]:
    found = {part for name in names for file in files_of(name) for part in imported(file)}
    return found - set(names)


ROWS = [row for row in rows_of(DOCS / 'design.md') if not row[0][0].startswith('.')]
IDS = [' '.join(names) for names, _ in ROWS]


def test_the_table_has_every_folder_and_file_of_the_package():
    folders = {path.parent.name for path in PACKAGE.glob('*/__init__.py')}
    files = {path.stem for path in PACKAGE.glob('*.py')} - OUTSIDE
    assert sorted(name for names, _ in ROWS for name in names) == sorted(folders | files)


@pytest.mark.parametrize('index', range(len(ROWS)), ids=IDS)
def test_a_row_names_exactly_what_its_folders_import_from_rows_above(index):
    names, named = ROWS[index]
    above = {name for row, _ in ROWS[:index] for name in row}
    found = imports_of(names)
    assert found <= above
    assert found - SHARED <= named
    if named != above:  # Not "all of the above".
        assert named <= found


def test_imports_are_found_in_functions_and_by_relative_paths():
    assert set(imported(PACKAGE / 'hooks' / 'parts_by_name.py')) == {
        *('distillers', 'errors', 'hooks', 'tapping')
    }
