"""Text is UTF-8 whatever the locale is."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mmmuse.command_line.config import load_config
from mmmuse.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
# A locale whose encoding is not UTF-8, and Python kept from choosing UTF-8 by itself.
ASCII = {'LC_ALL': 'C', 'PYTHONUTF8': '0', 'PYTHONCOERCECLOCALE': '0'}


def calls_without_encoding(tree: ast.Module) -> list[int]:
    """Return the lines that open a text file in the encoding of the locale."""
    lines = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, 'attr', getattr(node.func, 'id', ''))
        owner = getattr(getattr(node.func, 'value', None), 'id', '')
        if name not in ('open', 'read_text', 'write_text') or owner in (
            'os',
            'archive',
            'Image',
            'distribution',
        ):
            continue
        modes = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
        binary = name == 'open' and any('b' in mode for mode in modes if isinstance(mode, str))
        if not binary and not any(keyword.arg == 'encoding' for keyword in node.keywords):
            lines.append(node.lineno)
    return lines


@pytest.mark.parametrize('folder', ['mmmuse', 'tools'])
def test_every_text_file_is_opened_as_utf_8(folder):
    found = {
        str(file): lines
        for file in (ROOT / folder).rglob('*.py')
        if (lines := calls_without_encoding(ast.parse(file.read_text(encoding='utf-8'))))
    }
    assert found == {}


@pytest.mark.parametrize(
    ('text', 'lines'),
    [
        ("open('a')\nopen('b', 'rb')\nopen('c', encoding='utf-8')", [1]),
        ('path.read_text()\npath.write_text(text)\npath.open()', [1, 2, 3]),
    ],
)
def test_a_file_opened_in_the_encoding_of_the_locale_is_found(text, lines):
    assert calls_without_encoding(ast.parse(text)) == lines


def test_a_config_of_any_script_and_line_ends_is_read(tmp_path):
    path = tmp_path / 'größe.py'
    path.write_bytes("# 训练\r\nmodel = dict(\r\n    name='é')\r\nspäter = 3\r\n".encode())
    assert load_config(str(path), {}).model.name == 'é'


@pytest.mark.parametrize(
    ('name', 'text'), [('config.py', 'model = dict(a=1)\n'), ('config.json', '{"model": {}}')]
)
def test_a_byte_order_mark_is_named(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding='utf-8-sig')
    with pytest.raises(InputError, match=f'{re.escape(name)} starts with a byte order mark'):
        load_config(str(path), {})


def test_a_byte_order_mark_in_a_base_is_named(tmp_path):
    (tmp_path / 'base.py').write_text('a = 1\n', encoding='utf-8-sig')
    (tmp_path / 'child.py').write_text("_base_ = 'base.py'\n", encoding='utf-8')
    with pytest.raises(InputError, match=r'a base of .*child\.py starts with'):
        load_config(str(tmp_path / 'child.py'), {})


@pytest.mark.slow
def test_a_command_runs_in_utf_8_under_an_ascii_locale(tmp_path):
    """Every file that MMEngine opens in the encoding of the locale, its log above all."""
    script = (
        'import locale, sys\n'
        'from mmmuse.commands.utf8 import run_in_utf8\n'
        'run_in_utf8()\n'
        "print('größe', locale.getpreferredencoding(False), sys.argv[1:], sys.flags.utf8_mode)\n"
    )
    (tmp_path / 'script.py').write_text(script, encoding='utf-8')
    finished = subprocess.run(
        [sys.executable, '-W', 'ignore', tmp_path / 'script.py', '--flag', 'é'],
        env={**os.environ, **ASCII, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        check=True,
    )
    assert finished.stdout.decode() == "größe utf-8 ['--flag', 'é'] 1\n"
