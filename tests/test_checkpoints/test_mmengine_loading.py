"""MMEngine's own readers run no code of a file once a tool has started."""

import io
from collections.abc import Iterator
from pathlib import Path

import mmengine
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.fileio import LocalBackend, get_local_path, register_backend
from mmengine.fileio import io as mmengine_files
from mmengine.fileio.handlers import file_handlers
from mmengine.runner import checkpoint as mmengine_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader

from mmmuse.checkpoints.files import read_checkpoint, read_file
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
    mmengine_files.backend_instances.clear()


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


def test_a_file_of_a_storage_service_runs_no_code(tmp_path, monkeypatch):
    files = {}

    class Service:
        def get(self, path: str) -> bytes:
            return files[path]

    # MMEngine loads what s3:// names by this function.
    monkeypatch.setattr(mmengine_checkpoint, 'get_file_backend', lambda *_, **__: Service())
    refuse_code_in_files()
    marker = tmp_path / 'marker'
    files['s3://a/bad.pth'] = CONTENTS['a call in a checkpoint'].content(marker)
    files['s3://a/good.pth'] = as_bytes(GOOD)
    with pytest.raises(InputError, match='holds more than weights'):
        CheckpointLoader.load_checkpoint('s3://a/bad.pth', map_location='cpu')
    assert not marker.exists()
    assert CheckpointLoader.load_checkpoint('s3://a/good.pth')['meta'] == dict(epoch=3)


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


LAYOUTS = {
    'of another library': {'model': {'w': torch.ones(2)}, 'optimizer': None, 'epoch': 3},
    'with a state of its own': {
        'state_dict': {'w': torch.ones(2), 'norm._extra_state': dict(scale=2)},
        'meta': dict(epoch=3),
    },
    'of names to tensors': {'w': torch.ones(2)},
}


@pytest.mark.parametrize('name', LAYOUTS)
def test_weights_in_the_layout_of_another_library_are_read_by_mmengine(tmp_path, name):
    refuse_code_in_files()
    torch.save(LAYOUTS[name], tmp_path / 'a.pth')
    found = CheckpointLoader.load_checkpoint(str(tmp_path / 'a.pth'), map_location='cpu')
    expected = LAYOUTS[name]
    assert found.keys() == expected.keys()
    for part in ('model', 'state_dict'):
        if part in expected:
            assert found[part].keys() == expected[part].keys()
            assert torch.equal(found[part]['w'], torch.ones(2))


def test_a_network_of_mmdet_starts_from_weights_that_were_published_for_it(tmp_path):
    """Its PVT reads the file itself, and takes {'model': ...} as well."""
    options = dict(
        embed_dims=8, num_stages=1, num_layers=[1], num_heads=[1], patch_sizes=[4], strides=[4],
        paddings=[0], sr_ratios=[8], out_indices=(0,), mlp_ratios=[2], pretrain_img_size=32,
    )  # fmt: skip
    mmdet_backbones = pytest.importorskip('mmdet.models.backbones')
    refuse_code_in_files()
    trained = mmdet_backbones.PyramidVisionTransformer(**options)
    torch.save(dict(model=trained.state_dict()), tmp_path / 'a.pth')
    started = mmdet_backbones.PyramidVisionTransformer(
        **options, init_cfg=ConfigDict(type='Pretrained', checkpoint=str(tmp_path / 'a.pth'))
    )
    started.init_weights()
    for name, value in trained.state_dict().items():
        assert torch.equal(started.state_dict()[name], value), name


def test_a_meta_of_none_is_an_empty_one(tmp_path):
    refuse_code_in_files()
    torch.save({**GOOD, 'meta': None}, tmp_path / 'a.pth')
    assert CheckpointLoader.load_checkpoint(str(tmp_path / 'a.pth'))['meta'] == {}
    assert read_checkpoint(str(tmp_path / 'a.pth'))['meta'] == {}


@pytest.mark.parametrize(
    ('content', 'why', 'trust'),
    [
        ({'model': {'w': torch.ones(2, device='meta')}}, "without data (device 'meta')", False),
        ({'model': {'w': torch.ones(2, device='meta')}}, 'model.w is without data', True),
        ({'model': [torch.ones(2).to_sparse()]}, 'model.0 is torch.sparse_coo', True),
        ({'model': {'w': 1}}, 'it contains no tensor', False),
    ],
)
def test_weights_without_data_are_refused_in_any_layout(content, why, trust, tmp_path):
    refuse_code_in_files(trust)
    torch.save(content, tmp_path / 'a.pth')
    with pytest.raises(InputError) as error:
        CheckpointLoader.load_checkpoint(str(tmp_path / 'a.pth'))
    assert str(error.value).startswith(str(tmp_path / 'a.pth'))
    assert why in str(error.value)


def test_a_file_that_contains_itself_is_read(tmp_path):
    refuse_code_in_files()
    content = dict(state_dict={'w': torch.ones(2)})
    content['itself'] = content
    torch.save(content, tmp_path / 'a.pth')
    found = CheckpointLoader.load_checkpoint(str(tmp_path / 'a.pth'))
    assert found['itself'] is found


@pytest.mark.parametrize('kind', ['a FIFO', 'a device', 'a folder'])
def test_a_path_that_is_no_file_is_not_handed_to_a_reader(kind, tmp_path):
    (tmp_path / 'a.json').touch()
    with get_local_path(str(tmp_path / 'a.json')):  # MMEngine has read something before.
        refuse_code_in_files()
    path = tmp_path / 'instances.json'
    write_crafted(kind, path, tmp_path / 'marker')
    with (
        pytest.raises(InputError, match=f'cannot read {path}: it is a'),
        get_local_path(str(path)),
    ):
        pass


def test_a_path_of_a_file_is_handed_on(tmp_path):
    refuse_code_in_files()
    (tmp_path / 'a.json').touch()
    with get_local_path(str(tmp_path / 'a.json')) as path:
        assert path == str(tmp_path / 'a.json')


@pytest.mark.parametrize('trust', ['no', 1, None])
def test_the_flag_is_a_boolean(trust):
    with pytest.raises(InputError, match='--trust-checkpoint is True or False, got'):
        refuse_code_in_files(trust)


def test_one_safe_load_leaves_mmengine_as_it_was(tmp_path):
    before = dict(vars(mmengine_checkpoint)), dict(CheckpointLoader._schemes)
    with safe_loading(trust=True):
        assert vars(mmengine_checkpoint) != before[0]
    assert (vars(mmengine_checkpoint), CheckpointLoader._schemes) == before
