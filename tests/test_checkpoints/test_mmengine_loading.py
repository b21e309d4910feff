"""MMEngine's own readers run no code of a file once a tool has started."""

import io
from collections.abc import Iterator
from pathlib import Path

import mmengine
import pytest
import torch
from mmengine.fileio import LocalBackend, register_backend
from mmengine.fileio.handlers import file_handlers
from mmengine.runner import checkpoint as mmengine_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader

from mmmuse.checkpoints.files import read_file
from mmmuse.checkpoints.mmengine_loading import refuse_code_in_files, safe_loading
from mmmuse.errors import InputError

from ..crafted_files import CONTENTS, write_crafted

GOOD = dict(state_dict={'w': torch.ones(2)}, meta=dict(config='1/0', epoch=3))
ADDRESS = 'https://example.org/models/file.pth?version=2'


@pytest.fixture(autouse=True)
def _restored(monkeypatch, tmp_path) -> Iterator[None]:
    handlers = dict(file_handlers)
    monkeypatch.setenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '0')
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    with safe_loading():
        yield
    file_handlers.update(handlers)
    register_backend('local', LocalBackend, force=True, prefixes='')


def serve(monkeypatch, content: bytes) -> list[str]:
    """Make every address have this content; return the addresses that are downloaded."""
    asked = []

    def download(url: str, path: str, **_: object) -> None:
        asked.append(url)
        Path(path).write_bytes(content)

    monkeypatch.setattr(torch.hub, 'download_url_to_file', download)
    return asked


def as_bytes(content: dict) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def test_a_file_at_an_address_is_downloaded_once_and_read(monkeypatch, tmp_path):
    asked = serve(monkeypatch, as_bytes(GOOD))
    refuse_code_in_files()
    for _ in range(2):
        content = CheckpointLoader.load_checkpoint(ADDRESS, map_location='cpu')
        assert torch.equal(content['state_dict']['w'], torch.ones(2))
        assert content['meta'] == dict(epoch=3)
    assert asked == [ADDRESS]
    assert (tmp_path / 'hub' / 'checkpoints' / 'file.pth').is_file()


@pytest.mark.parametrize('kind', [kind for kind, each in CONTENTS.items() if each.runs_code])
@pytest.mark.parametrize('reader', [read_file, CheckpointLoader.load_checkpoint])
def test_a_file_at_an_address_runs_no_code(monkeypatch, tmp_path, kind, reader):
    marker = tmp_path / 'marker'
    serve(monkeypatch, CONTENTS[kind].content(marker))
    refuse_code_in_files()
    with pytest.raises(InputError, match=r'file\.pth'):
        reader(ADDRESS)
    assert not marker.exists()


def test_an_address_without_a_file_is_named(monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise OSError('no route to host')

    monkeypatch.setattr(torch.hub, 'download_url_to_file', fail)
    with pytest.raises(InputError, match=r'cannot download https://example\.org.*no route to host'):
        read_file(ADDRESS)


def test_a_file_of_a_storage_service_runs_no_code(tmp_path):
    refuse_code_in_files()
    marker = tmp_path / 'marker'
    content = CONTENTS['a call in a checkpoint'].content(marker)
    with pytest.raises(InputError, match='holds more than weights'):
        mmengine_checkpoint._safe_torch_load(io.BytesIO(content), map_location='cpu')
    assert not marker.exists()
    found = mmengine_checkpoint._safe_torch_load(io.BytesIO(as_bytes(GOOD)))
    assert found['meta'] == dict(epoch=3)


def test_a_trusted_file_is_read_whole_without_its_config(tmp_path):
    refuse_code_in_files(trust=True)
    path, marker = tmp_path / 'file.pth', tmp_path / 'marker'
    torch.save({**GOOD, 'where': Path('x')}, path)
    found = CheckpointLoader.load_checkpoint(str(path))
    assert found['where'] == Path('x')
    assert found['meta'] == dict(epoch=3)
    assert not marker.exists()


@pytest.mark.parametrize(
    ('name', 'kind'), [('a.pkl', 'a call in a pickle'), ('a.yaml', 'a call in YAML')]
)
def test_a_data_file_runs_code_only_if_trusted(tmp_path, name, kind):
    path, marker = tmp_path / name, tmp_path / 'marker'
    write_crafted(kind, path, marker)
    refuse_code_in_files()
    with pytest.raises(InputError, match=r'is a pickle|does not hold plain data'):
        mmengine.load(str(path))
    assert not marker.exists()
    refuse_code_in_files(trust=True)
    mmengine.load(str(path))
    assert marker.exists()


@pytest.mark.parametrize('name', ['a.json', 'a.yaml', 'a.yml'])
def test_plain_data_is_read(tmp_path, name):
    refuse_code_in_files()
    mmengine.dump(dict(a=[1, 'b', None]), str(tmp_path / name))
    assert mmengine.load(str(tmp_path / name)) == dict(a=[1, 'b', None])


def test_results_are_still_written_as_pickles(tmp_path):
    refuse_code_in_files()
    mmengine.dump([1, 2], str(tmp_path / 'a.pkl'))
    assert (tmp_path / 'a.pkl').stat().st_size > 0


@pytest.mark.parametrize('trust', ['no', 1, None])
def test_the_flag_is_a_boolean(trust):
    with pytest.raises(InputError, match='--trust-checkpoint is True or False, got'):
        refuse_code_in_files(trust)


def test_one_safe_load_leaves_mmengine_as_it_was(tmp_path):
    before = mmengine_checkpoint._safe_torch_load, dict(CheckpointLoader._schemes)
    with safe_loading(trust=True):
        assert mmengine_checkpoint._safe_torch_load is not before[0]
    assert (mmengine_checkpoint._safe_torch_load, CheckpointLoader._schemes) == before
