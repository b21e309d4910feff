"""Data and files that a config names are looked for; what would run is not refused."""

import pytest

from mmmuse.command_line.data_paths import (
    check_data_exists,
    check_files_exist,
    check_pretrained_exist,
)
from mmmuse.command_line.static_config import UNKNOWN
from mmmuse.command_line.wrapped_data import check_wrapped_data
from mmmuse.errors import InputError


def loader(**dataset: object) -> dict:
    return dict(train_dataloader=dict(dataset=dataset))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with data/boxes.json."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data' / 'boxes.json').write_text('{}', encoding='utf-8')
    return tmp_path


@pytest.mark.parametrize(
    ('dataset', 'said'),
    [
        (
            dict(type='CocoDataset', data_root='nowhere', ann_file='boxes.json'),
            'train_dataloader.dataset.data_root: no folder nowhere; put the data there, or set '
            'train_dataloader.dataset.data_root (--cfg-options train_dataloader.dataset.data_root=FOLDER)',
        ),
        (
            dict(type='mmdet.CocoDataset', data_root='data/', ann_file='b.json'),
            'train_dataloader.dataset.ann_file: annotation file not found: data/b.json',
        ),
        (
            dict(type='RepeatDataset', dataset=dict(type='ImageNet', data_root='nowhere')),
            'train_dataloader.dataset.dataset.data_root: no folder nowhere',
        ),
        (
            dict(
                type='ConcatDataset',
                datasets=[
                    dict(type='CocoDataset', data_root='data', ann_file='boxes.json'),
                    dict(type='mmmuse.TinyImageNet', data_root='x'),
                ],
            ),
            'train_dataloader.dataset.datasets.1.data_root: no folder x',
        ),
    ],
)
def test_missing_data_names_its_key(folder, dataset, said):
    with pytest.raises(InputError) as error:
        check_data_exists(loader(**dataset), ['train'])
    assert str(error.value).startswith(said)
    check_data_exists(loader(**dataset), ['val', 'test'])


@pytest.mark.parametrize(
    'dataset',
    [
        dict(type='CocoDataset', data_root='data', ann_file='boxes.json'),
        dict(type='CIFAR100', data_root='nowhere'),  # Is downloaded.
        dict(type='mmmuse.BatchedCIFAR100', data_root='nowhere'),
        dict(type='MyDataset', data_root='nowhere', ann_file='x'),
        dict(type='mine.CocoDataset', data_root='nowhere', ann_file='x'),
        dict(type='CocoDataset', data_root='s3://nowhere', ann_file='x'),
        dict(type='CocoDataset', data_root='nowhere', ann_file='x', backend_args=dict(a=1)),
        dict(type='CocoDataset', data_root=UNKNOWN, ann_file='x'),
        dict(type='CocoDataset', data_root='nowhere', ann_file=UNKNOWN),
        dict(type='ImageNet', data_root='nowhere', data_prefix=UNKNOWN),
        dict(type='ImageNet', data_root='nowhere', data_prefix='/data'),
        dict(type=UNKNOWN, data_root='nowhere'),
        dict(type='RepeatDataset', dataset=UNKNOWN),
    ],
)
def test_data_that_may_be_there_is_passed(folder, dataset):
    check_data_exists(loader(**dataset), ['train'])
    check_data_exists(dict(train_dataloader=UNKNOWN), ['train'])


def test_an_absolute_annotation_file_needs_no_root(folder):
    path = str(folder / 'data' / 'boxes.json')
    check_data_exists(loader(type='CocoDataset', data_root='nowhere', ann_file=path), ['train'])


@pytest.mark.parametrize(
    ('key', 'file'), [('teacher_checkpoint', 'none.pth'), ('teacher_cache', 'none.pth/index.json')]
)
def test_a_missing_file_of_the_teacher_names_its_key(folder, key, file):
    with pytest.raises(InputError) as error:
        check_files_exist(dict(model={'student': {}, key: 'none.pth'}))
    assert str(error.value).startswith(f'model.{key} {file}: no c')
    (folder / 'data' / 'index.json').touch()
    here = 'data' if key == 'teacher_cache' else 'data/boxes.json'
    for path in ('https://somewhere/none.pth', None, UNKNOWN, here):
        check_files_exist(dict(model={'student': {}, key: path}))
    check_files_exist(dict(model={key: 'none.pth'}))  # No distiller.


def test_missing_pretrained_weights_name_their_key(folder):
    backbone = dict(type='ResNet', init_cfg=dict(type='Pretrained', checkpoint='none.pth'))
    with pytest.raises(
        InputError, match=r'^model\.student\.backbone\.init_cfg\.checkpoint none\.pth: no'
    ):
        check_pretrained_exist(dict(model=dict(student=dict(backbone=backbone))))
    check_pretrained_exist(dict(model=dict(student={}, teacher=dict(backbone=backbone))))
    backbone['init_cfg']['checkpoint'] = 'torchvision://resnet50'
    check_pretrained_exist(dict(model=dict(student=dict(backbone=backbone))))


INSIDE = dict(type='ImageNet')


@pytest.mark.parametrize(
    ('wrapper', 'said'),
    [
        (
            dict(type='RepeatDataset', times=2, dataset=INSIDE, indices=9),
            'train_dataloader.dataset.indices is not read by RepeatDataset, which wraps another data '
            'set: set train_dataloader.dataset.dataset.indices',
        ),
        (
            dict(type='mmdet.MultiImageMixDataset', pipeline=[], dataset=INSIDE, data_root='x'),
            'train_dataloader.dataset.data_root is not read by MultiImageMixDataset, which wraps '
            'another data set: set train_dataloader.dataset.dataset.data_root',
        ),
        (
            dict(
                type='RepeatDataset',
                times=2,
                dataset=dict(type='ConcatDataset', datasets=[INSIDE], indices=9),
            ),
            'train_dataloader.dataset.dataset.indices is not read by ConcatDataset, which wraps '
            'another data set: set train_dataloader.dataset.dataset.datasets.0.indices',
        ),
    ],
)
def test_a_key_for_the_data_set_inside_a_wrapper_is_named_there(wrapper, said):
    with pytest.raises(InputError) as error:
        check_wrapped_data(loader(**wrapper))
    assert str(error.value) == said


@pytest.mark.parametrize(
    'dataset',
    [
        dict(type='RepeatDataset', times=2, dataset=INSIDE, lazy_init=True, _scope_='mmdet'),
        dict(type='mine.RepeatDataset', dataset=INSIDE, indices=9),
        dict(type='MyWrapper', dataset=INSIDE, indices=9),
        dict(type='ImageNet', indices=9),
    ],
)
def test_other_data_sets_may_read_any_key(dataset):
    check_wrapped_data(loader(**dataset))


@pytest.mark.parametrize(
    'name',
    [
        'ClassBalancedDataset',
        'ConcatDataset',
        'RepeatDataset',
        'MultiImageMixDataset',
        'KFoldDataset',
    ],
)
def test_the_keys_of_wrappers_are_those_of_the_libraries(name):
    import inspect

    from mmengine.registry import DATASETS

    from mmmuse.command_line.wrapped_data import _EVERY, _READ

    kinds = [DATASETS.get(f'{scope}.{name}') for scope in ('mmdet', 'mmpretrain', 'mmengine')]
    parameters = [set(inspect.signature(kind).parameters) for kind in kinds if kind is not None]
    assert parameters
    for own in parameters:
        assert own <= _READ[name] | _EVERY
        assert not any(
            parameter.kind is parameter.VAR_KEYWORD
            for kind in filter(None, kinds)
            for parameter in inspect.signature(kind).parameters.values()
        )


def test_images_in_a_linked_folder_are_found(tmp_path):
    for name in ('elsewhere', 'images', 'masks'):
        (tmp_path / name).mkdir()
    (tmp_path / 'images' / 'city').symlink_to(tmp_path / 'elsewhere')
    dataset = dict(
        type='mmseg.BaseSegDataset',
        data_root=str(tmp_path),
        data_prefix=dict(img_path='images', seg_map_path='masks'),
        img_suffix='.png',
    )
    config = dict(train_dataloader=dict(dataset=dataset))
    with pytest.raises(InputError, match=r'no images \(\*\.png\) in \S+images'):
        check_data_exists(config, ['train'])
    (tmp_path / 'elsewhere' / 'a.png').touch()
    check_data_exists(config, ['train'])


def test_a_folder_of_images_without_labels_has_an_image(folder):
    (folder / 'images' / 'more').mkdir(parents=True)
    (folder / 'images' / 'notes.txt').touch()
    unlabelled = dict(type='mmpretrain.CustomDataset', with_label=False)

    def said(**dataset: object) -> str:
        with pytest.raises(InputError) as error:
            check_data_exists(loader(**unlabelled, **dataset), ['train'])
        return str(error.value)

    assert said(data_root='nowhere').startswith('train_dataloader.dataset.data_root: no folder')
    assert said(data_root='images').startswith('train_dataloader.dataset: no images (.jpg, ')
    assert said(data_root='.', data_prefix='imges') == (
        'train_dataloader.dataset.data_prefix: no folder imges'
    )
    assert said(data_root='images', extensions=['.txt2']).endswith('no images (.txt2) in images')
    check_data_exists(loader(**unlabelled, data_root='images', extensions=['.TXT']), ['train'])
    (folder / 'images' / 'more' / 'a.PNG').touch()
    check_data_exists(loader(**unlabelled, data_root='images'), ['train'])
    check_data_exists(loader(**unlabelled, data_root='.', data_prefix='images'), ['train'])
