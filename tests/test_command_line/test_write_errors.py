"""An output that cannot be written is named, and not a temporary file of it."""

import errno
import os

import pytest
from mmengine.config import Config

from mmmuse.command_line import report
from mmmuse.command_line.explain import explained
from mmmuse.command_line.report import new_folder, write_json
from mmmuse.command_line.write_errors import naming_output
from mmmuse.errors import InputError


def error(number: int, file: object = None) -> OSError:
    return OSError(number, os.strerror(number), *([] if file is None else [str(file)]))


def test_a_full_disk_while_a_folder_is_written_names_the_folder(tmp_path):
    out = tmp_path / 'out'
    said = f'cannot write {out}: No space left on device'
    for is_named in (False, True):
        with pytest.raises(InputError, match=said), new_folder(out) as folder:
            raise error(errno.ENOSPC, folder / 'exits.csv' if is_named else None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('number', [errno.EROFS, errno.EACCES])
def test_a_folder_that_cannot_be_made_is_named_as_it_was_given(tmp_path, monkeypatch, number):
    def refuse(prefix, dir):
        raise error(number, dir / f'{prefix}x')

    monkeypatch.setattr(report, 'mkdtemp', refuse)
    said = f'cannot write {tmp_path / "out"}: {os.strerror(number)}'
    with pytest.raises(InputError, match=said), new_folder(tmp_path / 'out'):
        pass


def test_an_error_of_another_file_is_passed_on(tmp_path):
    with pytest.raises(PermissionError, match=r'data\.png'), new_folder(tmp_path / 'out'):
        raise error(errno.EACCES, tmp_path / 'data.png')
    with pytest.raises(OSError, match='Too many open files'), naming_output(tmp_path / 'out'):
        raise error(errno.EMFILE)


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='a device of Linux')
def test_json_on_a_full_disk_is_named():
    with pytest.raises(InputError, match='cannot write /dev/full: No space left on device'):
        write_json('/dev/full', {})


def test_of_a_file_without_a_name_the_work_dir_is_named(capsys):
    config = Config(dict(work_dir='work_dirs/mine'))
    with pytest.raises(SystemExit), explained():
        write_nothing(config)
    said = 'error: cannot write a file in work_dirs/mine: No space left on device\n'
    assert capsys.readouterr().err == said


def write_nothing(config: Config) -> None:
    raise error(errno.ENOSPC)
