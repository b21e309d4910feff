import pytest
from mmengine.config import Config

from mmmuse.command_line.replaced_config import check_replaced_config
from mmmuse.errors import InputError

OF_A_RUN = dict(model=dict(type='A', sizes=(1, -2)), launcher='none', work_dir='work_dirs/own')
DUMP = Config(OF_A_RUN).pretty_text
START = '20260102_030405/vis_data/config.py'


def check(folder, name: str = 'own.py') -> None:
    content = dict(work_dir=str(folder))
    check_replaced_config(Config(content, cfg_text='a config', filename=f'elsewhere/{name}'))


def write(folder, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    'files',
    [
        {},
        {'other.py': 'mine'},
        {'own.py': DUMP},
        {'own.py': ''},
        {'own.py': DUMP[:20], START: DUMP},
        {'own.py': 'rate = inf\n', START: 'rate = inf\n'},
    ],
)
def test_what_a_run_has_written_is_replaced_wherever_it_was_killed(tmp_path, files):
    write(tmp_path, files)
    check(tmp_path)
    check(tmp_path / 'missing')


@pytest.mark.parametrize(
    'files',
    [
        {'own.py': "_base_ = ['base.py']\nlauncher = work_dir = 'x'\n"},
        {'own.py': "model = dict(type='A')\n"},
        {'own.py': f'{DUMP}# A note of mine.\n'},
        {'own.py': DUMP[:20]},
        {'own.py': DUMP[:20], START: 'model = dict()\n'},
        {'own.py/folder': ''},
    ],
)
def test_what_no_run_has_written_is_not_replaced(tmp_path, files):
    write(tmp_path, files)
    with pytest.raises(
        InputError, match=r'own\.py exists and is not the complete config of an earlier run'
    ):
        check(tmp_path)


@pytest.mark.parametrize('suffix', ['json', 'yaml'])
def test_configs_in_other_formats_are_known_by_the_keys_of_a_run(tmp_path, suffix):
    name = f'own.{suffix}'
    Config(OF_A_RUN).dump(tmp_path / name)
    check(tmp_path, name)
    Config(dict(model=dict(type='A'))).dump(tmp_path / name)
    with pytest.raises(InputError, match='exists and is not the complete config'):
        check(tmp_path, name)


@pytest.mark.parametrize(
    ('name', 'text'),
    [
        ('own.yaml', '# Mine.\nlauncher: none\nwork_dir: a\n'),
        ('own.yaml', 'model:\n  launcher: none\n  work_dir: a\n'),
        ('own.json', '{"model": {"launcher": "none", "work_dir": "a"}}'),
        ('own.json', '{"launcher": "none", "work_dir": '),
    ],
)
def test_files_of_other_formats_are_kept_if_they_only_mention_the_keys(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match='exists and is not the complete config'):
        check(tmp_path, name)
