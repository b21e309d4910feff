from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from mmmuse.command_line.explain import explanation
from mmmuse.datasets import TinyImageNet
from mmmuse.errors import InputError

MINI = Path(__file__).resolve().parents[2] / 'data' / 'tiny-imagenet-mini'
WNIDS = ['n02', 'n01']
PIPELINE = [dict(type='mmpretrain.LoadImageFromFile'), dict(type='mmpretrain.PackInputs')]


def save_image(path: Path, grey: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((64, 64, 3), grey, dtype=np.uint8)).save(path, format='JPEG')


@pytest.fixture
def root(tmp_path) -> Path:
    """Two classes in the official layout: two images each to train on, three to validate on."""
    root = tmp_path / 'tiny-imagenet-200'
    for i, wnid in enumerate(WNIDS):
        for number in range(2):
            save_image(root / 'train' / wnid / 'images' / f'{wnid}_{number}.JPEG', 50 * i + number)
        (root / 'train' / wnid / f'{wnid}_boxes.txt').write_text('')
    for number in range(3):
        save_image(root / 'val' / 'images' / f'val_{number}.JPEG', 100 + number)
    (root / 'wnids.txt').write_text('\n'.join(WNIDS))
    (root / 'words.txt').write_text('n01\ttench, Tinca tinca\nn02\tgoldfish\nn03\tcock\n')
    (root / 'val' / 'val_annotations.txt').write_text(
        'val_0.JPEG\tn02\t0\t0\t62\t62\nval_1.JPEG\tn01\t0\t0\t9\t9\nval_2.JPEG\tn02\t0\t0\t9\t9\n'
    )
    return root


def labels(dataset: TinyImageNet) -> list[tuple[str, int]]:
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    return [(Path(info['img_path']).name, info['gt_label']) for info in infos]


def test_labels_follow_the_sorted_wordnet_ids(root):
    train = TinyImageNet(root, 'train')
    assert labels(train) == [
        ('n01_0.JPEG', 0),
        ('n01_1.JPEG', 0),
        ('n02_0.JPEG', 1),
        ('n02_1.JPEG', 1),
    ]
    assert list(train.metainfo['classes']) == ['tench', 'goldfish']


def test_validation_labels_are_those_of_the_annotation_file(root):
    assert labels(TinyImageNet(root, 'val')) == [
        ('val_0.JPEG', 1),
        ('val_1.JPEG', 0),
        ('val_2.JPEG', 1),
    ]


def test_images_go_through_mmpretrains_pipeline(root):
    sample = TinyImageNet(root, 'val', pipeline=PIPELINE)[1]
    assert sample['inputs'].shape == (3, 64, 64)
    assert sample['inputs'].float().mean().item() == pytest.approx(101, abs=2)
    assert sample['data_samples'].gt_label.item() == 0


def test_no_file_is_moved_or_written(root):
    before = sorted(root.rglob('*'))
    TinyImageNet(root, 'train')
    TinyImageNet(root, 'val')
    assert sorted(root.rglob('*')) == before


def test_a_missing_class_is_named(root):
    for path in (root / 'train' / 'n01' / 'images').iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r'train/n01/images is missing or empty.*class n01 has no'):
        TinyImageNet(root, 'train')


def test_a_missing_annotation_file_is_named(root):
    (root / 'val' / 'val_annotations.txt').unlink()
    with pytest.raises(InputError, match=r'val/val_annotations.txt is missing'):
        TinyImageNet(root, 'val')


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('val_0.JPEG\tn09\t0\t0\t1\t1', "line 1: 'n09' is not one of the 2 classes"),
        ('val_0.JPEG', "line 1: '' is not one of the 2 classes"),
        ('val_7.JPEG\tn01\t0\t0\t1\t1', "line 1: 'val_7.JPEG' is not in images"),
        ('', 'is empty'),
    ],
)
def test_a_wrong_annotation_is_named_with_its_line(root, line, message):
    (root / 'val' / 'val_annotations.txt').write_text(line)
    with pytest.raises(InputError, match=message):
        TinyImageNet(root, 'val')


def test_a_missing_folder_says_what_to_unpack(tmp_path):
    with pytest.raises(InputError, match=r'wnids.txt is missing.*unpack tiny-imagenet-200.zip'):
        TinyImageNet(tmp_path / 'nowhere', 'train')


def test_only_train_and_val_have_labels(root):
    with pytest.raises(InputError, match="split is 'train' or 'val', got 'test'"):
        TinyImageNet(root, 'test')


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'wnids.txt is missing or empty'),
        (b' \n\n', 'wnids.txt is missing or empty'),
        (b'\xff\xd8\xff\xe0', 'wnids.txt is not a text file'),
        ('n01\nn02 caf\xe9'.encode('latin-1'), 'wnids.txt is not a text file'),
        (b'some text', "wnids.txt: 'some' is not a WordNet id"),
        (b'n01 n02 ../../n03', "wnids.txt: '../../n03' is not a WordNet id"),
        (b'n01 n02 n01', 'wnids.txt: class n01 is given twice'),
        (b'n02', 'wnids.txt lacks 1 classes of train/, such as n01'),
    ],
)
@pytest.mark.parametrize('split', ['train', 'val'])
def test_a_wrong_list_of_classes_is_refused_in_one_line(root, content, message, split):
    (root / 'wnids.txt').write_bytes(content)
    with pytest.raises(InputError) as error:
        TinyImageNet(root, split)
    assert message in str(error.value)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('name', ['wnids.txt', 'words.txt', 'val/val_annotations.txt'])
def test_a_link_to_itself_and_a_folder_are_no_files(root, name):
    (root / name).unlink()
    (root / name).symlink_to(root / name)
    with pytest.raises(InputError, match=f'{name} is missing or empty'):
        TinyImageNet(root, 'val')
    (root / name).unlink()
    (root / name).mkdir()
    with pytest.raises(InputError, match=f'{name} is missing or empty'):
        TinyImageNet(root, 'val')


@pytest.mark.parametrize('name', ['words.txt', 'val/val_annotations.txt'])
def test_a_file_that_is_not_text_is_refused(root, name):
    (root / name).write_bytes(b'\xff\xfe\x00')
    with pytest.raises(InputError, match=f'{name} is not a text file'):
        TinyImageNet(root, 'val')


def test_annotations_that_were_cut_off_are_refused(root):
    annotations = root / 'val' / 'val_annotations.txt'
    annotations.write_text(annotations.read_text().splitlines()[0])
    with pytest.raises(InputError, match=r'no line for 2 of 3 images, such as val_1.JPEG'):
        TinyImageNet(root, 'val')


def test_an_image_that_is_annotated_twice_is_refused_with_the_line(root):
    annotations = root / 'val' / 'val_annotations.txt'
    annotations.write_text(annotations.read_text() + 'val_1.JPEG\tn02\t0\t0\t9\t9\n')
    with pytest.raises(InputError, match=r"line 4: 'val_1.JPEG' has a line before"):
        TinyImageNet(root, 'val')


def looped(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


def replaced_by_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ('damage', 'why'),
    [
        (lambda path: path.write_bytes(b''), 'not an image'),
        (lambda path: path.write_bytes(path.read_bytes()[:300]), 'not an image'),
        (lambda path: path.write_bytes(path.read_bytes()[:-2]), 'not an image'),
        (lambda path: path.write_text('<html>404</html>'), 'not an image'),
        (looped, 'Too many levels of symbolic links'),
        (replaced_by_a_folder, 'it is a folder'),
        (Path.unlink, 'file not found'),
    ],
    ids=['empty', 'truncated', 'without its end', 'text', 'looped', 'folder', 'removed'],
)
def test_an_image_that_cannot_be_read_is_named(root, damage, why):
    dataset = TinyImageNet(root, 'val', pipeline=PIPELINE)
    path = root / 'val' / 'images' / 'val_1.JPEG'
    damage(path)
    assert dataset[0]['inputs'].shape == (3, 64, 64)
    with pytest.raises(InputError) as error:
        dataset[1]
    assert str(error.value) == f'cannot read image {path}: {why}'


@pytest.mark.slow
def test_an_image_that_a_worker_cannot_read_is_named_in_one_line(root):
    dataset = TinyImageNet(root, 'val', pipeline=PIPELINE)
    path = root / 'val' / 'images' / 'val_1.JPEG'
    path.write_text('<html>404</html>')
    with pytest.raises(InputError) as error:
        list(DataLoader(dataset, num_workers=1, collate_fn=list))
    assert explanation(error.value) == f'cannot read image {path}: not an image'


def test_an_error_of_another_transform_is_not_blamed_on_the_image(root):
    def transform(results: dict) -> dict:
        raise AssertionError('a bug')

    with pytest.raises(AssertionError, match='a bug'):
        TinyImageNet(root, 'val', pipeline=[transform])[0]


def test_the_real_sample_is_read():
    if not MINI.exists():
        pytest.skip('TinyImageNet is not in data/tiny-imagenet-mini')
    train, val = TinyImageNet(MINI, 'train'), TinyImageNet(MINI, 'val')
    assert (len(train), len(val)) == (2000, 1000)
    assert np.bincount(train.get_gt_labels()).tolist() == [10] * 200
    assert np.bincount(val.get_gt_labels()).tolist() == [5] * 200
    # val_annotations.txt begins with val_0.JPEG, n03444034, whose name is in words.txt.
    first = val.get_data_info(0)
    assert Path(first['img_path']).name == 'val_0.JPEG'
    assert train.wnids[first['gt_label']] == 'n03444034'
