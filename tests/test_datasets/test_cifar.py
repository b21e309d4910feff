import hashlib
import io
import pickle
import struct
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.runner import Runner
from mmpretrain.datasets import CIFAR10, CIFAR100

from mmmuse.datasets import BatchedCIFAR10, BatchedCIFAR100
from mmmuse.datasets.cifar import BatchedCIFAR
from mmmuse.errors import InputError

CONFIG = Path(__file__).resolve().parents[2] / 'configs/_base_/datasets/cifar100.py'
DOWNLOAD = 'mmmuse.datasets.cifar.download_and_extract_archive'


class Python2Pickler(pickle._Pickler):
    """Writes strings as Python 2 did, with which CIFAR's files were made."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_string(self, string) -> None:
        string = string.encode() if isinstance(string, str) else string
        self.write(pickle.BINSTRING + struct.pack('<i', len(string)) + string)

    dispatch[str] = dispatch[bytes] = save_string


def pickled(images: np.ndarray, labels: list[int], key: str) -> bytes:
    buffer = io.BytesIO()
    Python2Pickler(buffer, protocol=2).dump({'data': images.reshape(len(images), -1), key: labels})
    return buffer.getvalue()


class TinyCIFAR:
    """CIFAR files of a few images, and the dataset class that expects them."""

    def __init__(self, source: type[CIFAR10], parts: dict[str, list[int]], key: str) -> None:
        rng = np.random.default_rng(0)
        self.images = {
            name: rng.integers(0, 256, (len(labels), 3, 32, 32), dtype=np.uint8)
            for name, labels in parts.items()
        }
        self.files = {
            name: pickled(self.images[name], labels, key) for name, labels in parts.items()
        }
        sums = [[name, hashlib.md5(content).hexdigest()] for name, content in self.files.items()]
        tiny = type(source.__name__, (source,), dict(train_list=sums[:-1], test_list=sums[-1:]))
        self.dataset = type('Tiny', (BatchedCIFAR,), dict(source=tiny))
        self.base_folder = source.base_folder

    def write(self, root: Path) -> Path:
        folder = root / self.base_folder
        folder.mkdir(parents=True)
        for name, content in self.files.items():
            (folder / name).write_bytes(content)
        return folder


@pytest.fixture
def cifar100() -> TinyCIFAR:
    return TinyCIFAR(CIFAR100, dict(train=[3, 99, 0], test=[7, 7]), 'fine_labels')


def refuse_to_download(*args, **kwargs):
    raise AssertionError('a download was started')


def test_the_images_and_fine_labels_of_the_asked_split_are_read(cifar100, tmp_path, monkeypatch):
    monkeypatch.setattr(DOWNLOAD, refuse_to_download)
    cifar100.write(tmp_path)
    train = cifar100.dataset(str(tmp_path), 'train')
    assert np.array_equal(train.images, cifar100.images['train'])
    assert train.labels.tolist() == [3, 99, 0]
    assert train.metainfo['classes'][:3] == ('apple', 'aquarium_fish', 'baby')
    test = cifar100.dataset(str(tmp_path), 'test')
    assert np.array_equal(test.images, cifar100.images['test'])
    assert test.labels.tolist() == [7, 7]


def test_the_batches_of_cifar10_are_joined_in_order(tmp_path):
    parts = {f'data_batch_{i}': [i, i + 1] for i in range(1, 6)}
    cifar10 = TinyCIFAR(CIFAR10, {**parts, 'test_batch': [9]}, 'labels')
    cifar10.write(tmp_path)
    train = cifar10.dataset(str(tmp_path), 'train')
    assert train.labels.tolist() == [1, 2, 2, 3, 3, 4, 4, 5, 5, 6]
    expected = np.concatenate([cifar10.images[name] for name in parts])
    assert np.array_equal(train.images, expected)
    assert cifar10.dataset(str(tmp_path), 'test').labels.tolist() == [9]


def test_indices_keep_a_part(cifar100, tmp_path):
    cifar100.write(tmp_path)
    assert cifar100.dataset(str(tmp_path), indices=2).labels.tolist() == [3, 99]
    assert cifar100.dataset(str(tmp_path), indices=[2, 0]).labels.tolist() == [0, 3]


def test_another_split_is_refused_before_anything_is_touched(tmp_path, monkeypatch):
    monkeypatch.setattr(DOWNLOAD, refuse_to_download)
    with pytest.raises(InputError, match="split is 'train' or 'test', got 'val'"):
        BatchedCIFAR100(str(tmp_path), 'val')


@pytest.mark.parametrize(
    ('dataset', 'archive', 'names'),
    [
        (BatchedCIFAR100, 'cifar-100-python.tar.gz', ['train', 'test']),
        (BatchedCIFAR10, 'cifar-10-python.tar.gz', ['data_batch_1', 'data_batch_5', 'test_batch']),
    ],
)
def test_a_missing_folder_is_explained_and_not_created(
    tmp_path, monkeypatch, dataset, archive, names
):
    monkeypatch.setattr(DOWNLOAD, refuse_to_download)
    root = tmp_path / 'nowhere' / 'cifar'
    with pytest.raises(InputError) as error:
        dataset(str(root), download=False)
    message = str(error.value)
    assert '\n' not in message
    assert f'is not in {root}' in message
    assert f'unpack {archive} there' in message
    for name in (str(root / dataset.source.base_folder), *names, 'data_root'):
        assert name in message
    assert list(tmp_path.iterdir()) == []


def test_one_missing_file_is_named(cifar100, tmp_path):
    folder = cifar100.write(tmp_path)
    (folder / 'train').unlink()
    with pytest.raises(InputError, match='train is missing: unpack cifar-100'):
        cifar100.dataset(str(tmp_path), download=False)


@pytest.mark.parametrize(
    'damage',
    [
        lambda content: content[:-100],
        lambda content: content[:50] + bytes([content[50] ^ 1]) + content[51:],
        lambda content: b'',
    ],
)
def test_a_damaged_file_is_named_never_unpickled_and_left_as_it_is(
    cifar100, tmp_path, monkeypatch, damage
):
    monkeypatch.setattr(DOWNLOAD, refuse_to_download)
    folder = cifar100.write(tmp_path)
    damaged = damage(cifar100.files['train'])
    (folder / 'train').write_bytes(damaged)
    monkeypatch.setattr(pickle, 'loads', lambda *args, **kwargs: pytest.fail('it was unpickled'))
    with pytest.raises(InputError) as error:
        cifar100.dataset(str(tmp_path))
    assert f'{folder / "train"} is damaged' in str(error.value)
    assert 'unpack cifar-100-python.tar.gz again' in str(error.value)
    assert (folder / 'train').read_bytes() == damaged
    assert (folder / 'test').read_bytes() == cifar100.files['test']
    assert [path.name for path in tmp_path.iterdir()] == ['cifar-100-python']


def half_a_download(error: BaseException):
    """A download that breaks off while it unpacks."""

    def download(url, root, filename, md5):
        folder = Path(root) / 'cifar-100-python'
        folder.mkdir(parents=True)
        (Path(root) / filename).write_bytes(b'half')
        (folder / 'test').write_bytes(b'half')
        raise error

    return download


@pytest.mark.parametrize('error', [URLError('no route to host'), RuntimeError('corrupted')])
def test_a_failed_download_says_what_to_do_and_leaves_no_files(
    cifar100, tmp_path, monkeypatch, error
):
    monkeypatch.setattr(DOWNLOAD, half_a_download(error))
    root = tmp_path / 'data' / 'cifar100'
    with pytest.raises(InputError) as raised:
        cifar100.dataset(str(root))
    message = str(raised.value)
    assert f'is not in {root}, and the download failed ({error})' in message
    assert f'unpack cifar-100-python.tar.gz there, so that {root / "cifar-100-python"}' in message
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_download_leaves_no_files(cifar100, tmp_path, monkeypatch):
    monkeypatch.setattr(DOWNLOAD, half_a_download(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        cifar100.dataset(str(tmp_path / 'data'))
    assert list(tmp_path.iterdir()) == []


def test_a_failed_download_leaves_the_users_own_files(cifar100, tmp_path, monkeypatch):
    folder = cifar100.write(tmp_path)
    (folder / 'test').unlink()
    (tmp_path / 'notes.txt').write_text('mine')

    def fail(*args, **kwargs):
        raise URLError('no route to host')

    monkeypatch.setattr(DOWNLOAD, fail)
    with pytest.raises(InputError, match='the download failed'):
        cifar100.dataset(str(tmp_path))
    assert (tmp_path / 'notes.txt').read_text() == 'mine'
    assert (folder / 'train').read_bytes() == cifar100.files['train']


def test_missing_files_are_downloaded_with_mmpretrains_address_and_checksum(
    cifar100, tmp_path, monkeypatch
):
    calls = []

    def download(url, root, filename, md5):
        calls.append((url, root, filename, md5))
        cifar100.write(Path(root))

    monkeypatch.setattr(DOWNLOAD, download)
    root = tmp_path / 'data'
    assert len(cifar100.dataset(str(root))) == 3
    assert len(cifar100.dataset(str(root), 'test')) == 2
    assert calls == [
        (CIFAR100.url, str(root), 'cifar-100-python.tar.gz', 'eb9058c3a382ffc7106e4002c42a8d85')
    ]


@pytest.mark.parametrize(('is_main', 'there'), [(True, True), (False, True), (False, False)])
def test_every_process_waits_once_and_only_the_main_one_downloads(
    cifar100, tmp_path, monkeypatch, is_main, there
):
    """A process that starts when the files exist must not make the others wait forever."""
    waits = []

    def wait():
        waits.append(1)
        if not there:  # Meanwhile the main process has downloaded them.
            cifar100.write(tmp_path)

    monkeypatch.setattr(DOWNLOAD, refuse_to_download)
    monkeypatch.setattr('mmengine.dist.is_main_process', lambda: is_main)
    monkeypatch.setattr('mmengine.dist.barrier', wait)
    if there:
        cifar100.write(tmp_path)
    assert len(cifar100.dataset(str(tmp_path))) == 3
    assert waits == [1]


def test_the_real_images_and_labels_equal_mmpretrains(cifar100_root):
    for split, size in (('train', 50000), ('test', 10000)):
        ours = BatchedCIFAR100(cifar100_root, split, download=False)
        theirs = CIFAR100(
            data_root=cifar100_root, split=split, download=False, serialize_data=False
        )
        assert len(ours) == len(theirs) == size
        assert ours.metainfo['classes'] == tuple(theirs.metainfo['classes'])
        for index in (0, 1, 4321, size - 1):
            expected = theirs[index]
            batch = ours[index]
            assert np.array_equal(batch['inputs'][0].permute(1, 2, 0), expected['img'])
            assert batch['gt_label'].item() == expected['gt_label']
        assert np.array_equal(ours.labels, theirs.get_gt_labels())


def test_the_config_reads_every_real_image_once(cifar100_root):
    config = Config.fromfile(CONFIG)
    for split, size in (('train', 50000), ('val', 10000)):
        loader = config[f'{split}_dataloader']
        loader.dataset.data_root = cifar100_root
        seen = np.concatenate(
            [batch['sample_idx'] for batch in Runner.build_dataloader(loader, seed=0)]
        )
        assert np.array_equal(np.sort(seen), np.arange(size))


def test_a_start_leaves_out_images_at_the_beginning(cifar100, tmp_path):
    cifar100.write(tmp_path)
    every = cifar100.dataset(str(tmp_path))
    part = cifar100.dataset(str(tmp_path), start=1, indices=1)
    assert part.labels.tolist() == every.labels[1:2].tolist()
    assert (part.images == every.images[1:2]).all()
    with pytest.raises(InputError, match='the dataset has no images'):
        cifar100.dataset(str(tmp_path), start=len(every))


def test_some_images_of_some_classes_are_kept_in_their_order(tmp_path):
    labels = [3, 0, 99, 1, 0, 1, 0, 2, 1]
    tiny = TinyCIFAR(CIFAR100, dict(train=labels, test=[7, 7]), 'fine_labels')
    tiny.write(tmp_path)

    def kept(**options) -> list[int]:
        part = tiny.dataset(str(tmp_path), **options)
        found = [
            int(np.flatnonzero((tiny.images['train'] == image).all((1, 2, 3)))[0])
            for image in part.images
        ]
        assert [labels[i] for i in found] == part.labels.tolist()
        assert (
            part.metainfo['classes'] == CIFAR100.METAINFO['classes'][: options.get('num_classes')]
        )
        return found

    assert kept(num_classes=2) == [1, 3, 4, 5, 6, 8]
    assert kept(num_classes=2, images_per_class=2) == [1, 3, 4, 5]
    assert kept(num_classes=2, images_per_class=2, start=2) == [3, 4, 5, 6]
    assert kept(num_classes=2, images_per_class=2, indices=3) == [1, 3, 4]
    assert kept() == list(range(9))
    with pytest.raises(InputError, match='images_per_class is 4, and class 0 has 3 images'):
        kept(num_classes=2, images_per_class=4)
    with pytest.raises(InputError, match='CIFAR100 has 100 classes, not 101'):
        kept(num_classes=101)
