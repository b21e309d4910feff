"""What is literal in a config is known without running it; what is not is unknown or passed over."""

import json
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.config.config import ConfigDict

from mmmuse.command_line.static_config import UNKNOWN, static_config
from tests.installed_configs import installed_configs

ROOT = Path(__file__).resolve().parents[2]


def read(folder: Path, text: str, *options: str, **bases: str) -> dict | None:
    for name, content in bases.items():
        (folder / f'{name}.py').write_text(content, encoding='utf-8')
    (folder / 'config.py').write_text(text, encoding='utf-8')
    return static_config(str(folder / 'config.py'), options)


@pytest.mark.parametrize(
    ('expression', 'value'),
    [
        ("dict(a=1, b=['x', (2, 3)])", dict(a=1, b=['x', [2, 3]])),
        ("{'a': {**dict(b=1), 'c': None}}", dict(a=dict(b=1, c=None))),
        ("root + 'x' + f'{root}y'", 'data/xdata/y'),
        ('[root][0]', 'data/'),
        ('dict(a=3)["a"]', 3),
        ("'{{ fileDirname }}/x'", UNKNOWN),
        ('other', UNKNOWN),
        ('[*root]', UNKNOWN),
        ('f(root)', UNKNOWN),
        ('3 * 4', UNKNOWN),
        ("f'{root:>9}'", UNKNOWN),
        ('dict(**other)', UNKNOWN),
        ('[x for x in root]', UNKNOWN),
    ],
)
def test_values_of_constants_are_known(tmp_path, expression, value):
    found = read(tmp_path, f"root = 'data/'\nvalue = {expression}\n")
    assert found == dict(root='data/', value=value)


def test_bases_are_merged_as_mmengine_merges_them(tmp_path):
    base = "data = dict(root='a', inner=dict(x=1, y=[1, 2]), gone=dict(z=1))\nlist = [1]\n"
    text = (
        "_base_ = ['base.py']\n"
        "data = dict(root='b', inner=dict(y=[3]), gone=dict(_delete_=True, w=2))\n"
        'copied = _base_.data.inner\n'
    )
    found = read(tmp_path, text, base=base)
    expected = Config.fromfile(tmp_path / 'config.py').to_dict()
    assert found == expected


@pytest.mark.parametrize(
    'statement',
    [
        "f(data)['root'] = 'b'",
        "data.update(f('b'))",
        'data.update(**f())',
        'f(data)',
        "x = data.pop('root')",
        "if True:\n    data = dict(root='b')",
        'for x in []:\n    pass',
        'data |= dict()',
        'del data',
    ],
)
def test_a_program_is_passed_over(tmp_path, statement):
    assert read(tmp_path, f"data = dict(root='a')\n{statement}\n") is None


def test_changes_of_a_dict_are_seen_under_every_name(tmp_path):
    text = (
        "_base_ = 'base.py'\n"
        'data = dict(list=[1, 2], copied=_base_.inner)\n'
        "data['list'][0] = 'a'\n"
        "_base_.inner.deep['y'] = [3]\n"
        '_base_.inner.update(z=4, w=f())\n'
        'first, *rest = data\n'
        "data['unknown'] = f()\n"
    )
    assert read(tmp_path, text, base='inner = dict(deep=dict(x=1))\n') == dict(
        inner=dict(deep=dict(x=1, y=[3]), z=4, w=UNKNOWN),
        data=dict(
            list=['a', 2], copied=dict(deep=dict(x=1, y=[3]), z=4, w=UNKNOWN), unknown=UNKNOWN
        ),
        first=UNKNOWN,
        rest=UNKNOWN,
    )


@pytest.mark.parametrize(
    'text',
    [
        "_base_ = f('x')\n",
        "_base_ = 'none.py'\n",
        "_base_ = 'config.py'\n",
        'a = (\n',
        '_base_ = 3\n',
    ],
)
def test_a_file_without_readable_bases_is_passed_over(tmp_path, text):
    assert read(tmp_path, text) is None


def test_a_harmless_statement_is_followed(tmp_path):
    text = '"""Text."""\nimport os\n\n\ndef f():\n    return 1\n\n\na = 1\nb = os.environ\n'
    assert read(tmp_path, text) == dict(a=1, b=UNKNOWN)


def test_options_are_set(tmp_path):
    text = "data = dict(root='a', x=dict(y=1))\nother = f()\n"
    assert read(tmp_path, text, 'data.root=c', 'data.x.y=[1,2]', 'data.z=None', 'new.a=b') == dict(
        data=dict(root='c', x=dict(y=UNKNOWN), z=UNKNOWN), other=UNKNOWN, new=dict(a='b')
    )
    assert read(tmp_path, text, 'other.x=3')['other'] is UNKNOWN
    assert read(tmp_path, text, 'data.root.x=3') is None


def test_an_option_does_not_change_an_alias(tmp_path):
    text = "one = dict(root='a')\ntwo = one\n"
    assert read(tmp_path, text, 'one.root=b') == dict(one=dict(root='b'), two=dict(root='a'))


def test_json_is_read(tmp_path):
    path = tmp_path / 'config.json'
    path.write_text(json.dumps(dict(a=dict(b=[1]))), encoding='utf-8')
    assert static_config(str(path)) == dict(a=dict(b=[1]))


def known_part(static: object, exact: object) -> bool:
    """Return whether everything that is known is as in the config that was run."""
    if static is UNKNOWN:
        return True
    if isinstance(static, dict):
        return isinstance(exact, dict) and all(
            key in exact and known_part(value, exact[key]) for key, value in static.items()
        )
    if isinstance(static, list):
        same = isinstance(exact, (list, tuple)) and len(static) == len(exact)
        return same and all(map(known_part, static, exact))
    return static == exact


@pytest.mark.parametrize('package', ['mmpretrain', 'mmdet'])
def test_what_is_known_of_a_packages_config_is_what_mmengine_reads(package):
    files = installed_configs(package)[::25]
    read = 0
    for file in files:
        static = static_config(str(file))
        if static is not None:
            read += 1
            exact = Config.fromfile(file)
            assert known_part(static, ConfigDict(exact.to_dict())), file
    assert read > len(files) / 2


def test_the_shipped_configs_are_read():
    files = [file for file in (ROOT / 'configs').rglob('*.py') if 'tables' not in file.parts]
    known = [static_config(str(file)) for file in files]
    assert sum(config is not None for config in known) == len(files)
