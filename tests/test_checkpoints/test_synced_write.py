import errno
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.fileio import get_file_backend

from mmmuse.checkpoints.synced_write import SYNCED, remove_unfinished, write_synced
from mmmuse.errors import InputError

from ..kills.crash_points import crash_points


class Killed(BaseException):
    """Ends a write as a kill does, without the clean-up."""


def kill() -> None:
    raise Killed


def moments_of_a_write(path: Path) -> int:
    seen = []
    with crash_points(0, kill, seen.append):
        write_synced(path, b'any')
    return len(seen)


def test_a_file_is_the_old_or_the_new_one_at_every_moment(tmp_path, monkeypatch):
    moments = moments_of_a_write(tmp_path / 'other')
    assert moments == 6  # The file and the folder are synced, and one is renamed in between.
    monkeypatch.setattr(Path, 'unlink', lambda *args, **kwargs: None)  # A kill removes nothing.
    found = []
    for at in range(1, moments + 1):
        path = tmp_path / 'epoch_1.pth'
        path.write_bytes(b'old')
        with pytest.raises(Killed), crash_points(at, kill):
            write_synced(path, b'new content')
        found.append(path.read_bytes())
        assert [file.name for file in tmp_path.glob('*.pth')] == ['epoch_1.pth']
        assert not list(tmp_path.glob('epoch_1*tmp'))
    assert found == [b'old'] * 3 + [b'new content'] * 3


def test_what_a_killed_write_leaves_is_removed_at_the_next_start(tmp_path):
    (tmp_path / '.epoch_1.pth.unfinished').write_bytes(b'half')
    (tmp_path / '.own').write_bytes(b'not ours')
    remove_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ['.own']


def test_an_interrupted_write_leaves_nothing_beside_the_old_file(tmp_path):
    path = tmp_path / 'epoch_1.pth'
    path.write_bytes(b'old')
    with pytest.raises(Killed), crash_points(1, kill):
        write_synced(path, b'new')
    assert [file.name for file in tmp_path.iterdir()] == ['epoch_1.pth']
    assert path.read_bytes() == b'old'


@pytest.fixture
def _small_files():
    """Files of at most 1000 bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.usefixtures('_small_files')
def test_a_file_that_does_not_fit_is_one_line_and_the_old_one_stays(tmp_path):
    path = tmp_path / 'epoch_1.pth'
    path.write_bytes(b'old')
    with pytest.raises(InputError) as error:
        write_synced(path, bytes(2000))
    assert str(error.value) == (
        f'cannot write {path}: {os.strerror(errno.EFBIG)}; earlier files are unchanged'
    )
    assert [file.name for file in tmp_path.iterdir()] == ['epoch_1.pth']
    assert path.read_bytes() == b'old'


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, monkeypatch, number):
    def refuse(*args):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, 'replace', refuse)
    with pytest.raises(InputError, match=f'cannot write .*: {os.strerror(number)}; earlier'):
        write_synced(tmp_path / 'epoch_1.pth', b'new')
    assert not list(tmp_path.iterdir())


def test_a_removed_folder_is_made_again(tmp_path):
    write_synced(tmp_path / 'gone' / 'epoch_1.pth', b'new')
    assert (tmp_path / 'gone' / 'epoch_1.pth').read_bytes() == b'new'


def test_mmengines_backend_of_that_name_writes_bytes_and_text(tmp_path):
    backend = get_file_backend(tmp_path, backend_args=dict(backend=SYNCED))
    backend.put(b'bytes', tmp_path / 'a')
    backend.put_text('text', tmp_path / 'b')
    assert ((tmp_path / 'a').read_bytes(), (tmp_path / 'b').read_text()) == (b'bytes', 'text')


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='a pipe of POSIX')
def test_a_pipe_is_written_in_place(tmp_path):
    pipe = tmp_path / 'pipe'
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_synced(pipe, b'new')
        assert os.read(reader, 9) == b'new'
    finally:
        os.close(reader)
    assert list(tmp_path.iterdir()) == [pipe]
    assert not pipe.is_file()


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists('/dev/stdout'), reason='a device of POSIX')
def test_the_standard_output_is_written_in_place_where_it_is_a_file(tmp_path):
    link = os.readlink('/dev/stdout')
    program = "from mmmuse.checkpoints.synced_write import write_synced; write_synced('/dev/stdout', b'new')"
    with (tmp_path / 'out').open('wb') as file:
        subprocess.run([sys.executable, '-c', program], stdout=file, check=True)
    assert (tmp_path / 'out').read_bytes() == b'new'
    assert os.readlink('/dev/stdout') == link
