import pytest
from mmengine.config import Config

from mmmuse.analysis.dumped_config import read_dumped_config
from mmmuse.errors import InputError


def test_it_is_what_mmengine_reads_of_its_own_dump(tmp_path):
    config = Config(
        dict(
            model=dict(type='A', sizes=[(1, -2), [0.5, None]], flags={'a.b': True, 'c d': dict()}),
            note="it's <b>\n",
            empty=[],
        )
    )
    path = tmp_path / 'config.py'
    path.write_text(config.pretty_text)
    assert read_dumped_config(path)._cfg_dict == Config.fromfile(path)._cfg_dict
    assert read_dumped_config(path).model.flags['a.b'] is True


@pytest.mark.parametrize(
    'text',
    [
        'import os',
        "open('marker', 'w')",
        "a = open('marker', 'w')",
        "a = dict(b=open('marker', 'w'))",
        "a = dict(**open('marker', 'w'))",
        "a = [x for x in (open('marker', 'w'),)]",
        'a = f\'{open("marker", "w")}\'',
        'a = (1).real',
        'a, b = 1, 2',
        'a = ',
        'a = dict(1)',
        'a = ' + '(' * 5000,
        'a = ' + '[' * 500 + ']' * 500,
        'a = {[]: 1}',
        'a = b',
        'text = 1',
    ],
)
def test_anything_but_literals_and_dicts_is_refused_and_not_run(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / 'config.py'
    path.write_text(text)
    with pytest.raises(InputError, match='is not a dumped config') as error:
        read_dumped_config(path)
    assert '\n' not in str(error.value)
    assert not (tmp_path / 'marker').exists()


def test_a_file_that_is_not_there_or_too_large_is_named(tmp_path):
    with pytest.raises(InputError, match='no config file'):
        read_dumped_config(tmp_path / 'config.py')
    with (tmp_path / 'large.py').open('wb') as file:
        file.truncate(2**25)
    with pytest.raises(InputError, match='larger than'):
        read_dumped_config(tmp_path / 'large.py')
