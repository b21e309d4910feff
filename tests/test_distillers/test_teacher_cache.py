import copy
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS

from mmmuse.analysis.teacher_outputs import (
    build_offline,
    cache_index,
    cache_teacher,
    check_space,
    described,
    loader_of,
)
from mmmuse.distillers import cache_index as of_index
from mmmuse.errors import InputError
from mmmuse.registry import MODELS

from ..test_teachers.networks import timm_teacher
from .transfer import CRD, MUSE, TAPS, network

KD = dict(type='mmmuse.KDLoss', temperature=4)
PREPROCESSOR = dict(
    type='mmmuse.BatchedDataPreprocessor',
    mean=[120.0],
    std=[60.0],
    crop_padding=1,
    flip_prob=0.5,
    seed=3,
)


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'teacher.pth'
    torch.save(MODELS.build(network(6, num_classes=10, in_channels=1)).state_dict(), path)
    return Config(
        dict(
            model=dict(
                type='mmmuse.OfflineDistiller',
                student=network(num_classes=10, in_channels=1),
                teacher=network(6, num_classes=10, in_channels=1),
                teacher_checkpoint=str(path),
                taps=TAPS,
                losses=[KD, MUSE],
            ),
            data_preprocessor=PREPROCESSOR,
            train_dataloader=dict(
                batch_size=8,
                num_workers=0,
                sampler=dict(type='DefaultSampler', shuffle=True),
                collate_fn=dict(type='mmmuse.keep_batch'),
                dataset=dict(type='mmmuse.BatchedDigits', split='train', indices=20),
            ),
            default_scope='mmpretrain',
        )
    )


def write_cache(config, path: Path, views: int = 3, kind: str = 'auto', rows: int = 0) -> str:
    distiller, loader = build_offline(config, views, seed=3), loader_of(config)
    index = cache_index(config, distiller, loader, kind)
    if rows:
        index = of_index.CacheIndex(**{**vars(index), 'rows': rows})
    cache_teacher(distiller, loader, index, path)
    return str(path)


@pytest.fixture
def cache(config, tmp_path) -> str:
    return write_cache(config, tmp_path / 'cache')


def changed(cache: str, **parts) -> str:
    """Change entries of a cache's index; None removes one."""
    path = Path(cache) / 'index.json'
    content = {**json.loads(path.read_text()), **parts}
    path.write_text(
        json.dumps({name: value for name, value in content.items() if value is not None})
    )
    return cache


def named(config, cache: str, **options):
    """A distiller that reads a cache and whose config names the teacher, as the cache's did."""
    preprocessor = {**PREPROCESSOR, 'fixed_views': 3}
    model = {**config.model, 'teacher_cache': cache, 'losses': [KD], **options}
    return MODELS.build(
        {**model, 'student': {**model['student'], 'data_preprocessor': preprocessor}}
    )


def test_a_cache_of_the_teacher_that_the_config_names_is_read(config, cache, tmp_path):
    named(config, cache)
    reordered = dict(reversed(config.model.teacher.items()))
    named(config, cache, teacher=reordered)
    named(config, cache, teacher_channel_order='same')
    moved = tmp_path / 'moved.pth'
    moved.write_bytes((tmp_path / 'teacher.pth').read_bytes())
    named(config, cache, teacher_checkpoint=str(moved))


def test_a_cache_of_taps_by_name_is_that_of_the_same_taps(config, tmp_path):
    features = {**config.model, 'type': 'mmmuse.FeatureDistiller', 'losses': None, 'taps': 'last'}
    config.model = {**features, 'student': features['student']['backbone']}
    path = write_cache(config, tmp_path / 'cache')
    once = {**PREPROCESSOR, 'fixed_views': 3}
    model = {**config.model, 'teacher_cache': path, 'data_preprocessor': once}
    MODELS.build(model)
    with pytest.raises(InputError, match=r'another teacher: teacher_taps differs'):
        MODELS.build({**model, 'teacher_taps': 'auto'})
    with pytest.raises(InputError, match=r'another teacher: teacher_taps\.last differs'):
        MODELS.build({**model, 'teacher_taps': dict(last='backbone.layer2')})


@pytest.mark.parametrize(
    ('options', 'what'),
    [
        (dict(teacher=network(8, num_classes=10, in_channels=1)), "the teacher's config differs"),
        (
            dict(
                teacher=network(
                    6, num_classes=10, in_channels=1, data_preprocessor=dict(mean=[1.0], std=[2.0])
                )
            ),
            "the teacher's config differs",
        ),
        (dict(teacher_taps={**TAPS, 'last': 'backbone.layer2'}), r'teacher_taps\.last differs'),
        (dict(teacher_taps={**TAPS, 'logits': 'head.fc'}), r'teacher_taps\.logits differs'),
        (dict(teacher_input_size=16), 'teacher_input_size differs'),
        (dict(teacher_channel_order='reversed'), 'teacher_channel_order differs'),
    ],
)
def test_a_cache_of_another_teacher_is_refused(config, cache, options, what):
    with pytest.raises(InputError, match=rf'holds the outputs of another teacher: {what}\. Write'):
        named(config, cache, **options)


def test_a_cache_of_other_weights_is_refused(config, cache, tmp_path):
    torch.manual_seed(1)
    other = MODELS.build(network(6, num_classes=10, in_channels=1)).state_dict()
    torch.save(other, tmp_path / 'teacher.pth')  # The teacher was trained anew, under its old name.
    with pytest.raises(InputError, match="the content of the teacher's checkpoint differs"):
        named(config, cache)
    with pytest.raises(InputError, match=r'config, the content of .* checkpoint differ\.'):
        named(config, cache, teacher=network(8, num_classes=10, in_channels=1))


def test_a_cache_of_images_of_another_size_is_refused(config, tmp_path):
    config.model.teacher_input_size = 16
    path = write_cache(config, tmp_path / 'cache')
    named(config, path)
    with pytest.raises(InputError, match='another teacher: teacher_input_size differs'):
        named(config, path, teacher_input_size=None)


def test_a_teacher_without_preprocessor_saw_images_that_the_students_prepared(config, cache):
    with pytest.raises(InputError, match="another teacher: the student's data_preprocessor, which"):
        cached(config, cache, mean=[100.0])


def test_a_cache_that_does_not_say_whose_it_is_is_refused(config, cache):
    changed(cache, teacher={})
    for build in (cached, named):
        with pytest.raises(
            InputError, match=r'does not say whose outputs it holds; write it again'
        ):
            build(config, cache)


@pytest.mark.parametrize(
    ('file', 'content'),
    [
        ('shard-00000/logits', np.zeros((60, 9), np.float32)),
        ('shard-00000/logits', np.zeros((59, 10), np.float32)),
        ('shard-00000/logits', np.zeros((60, 10), np.float64)),
        ('shard-00000/vector', np.zeros((60, 24, 1), np.float32)),
        ('labels', np.zeros(21, np.int64)),
        ('labels', np.zeros(20, np.float32)),
        ('labels', np.array(['a'] * 20)),
        ('labels', np.array([None] * 20)),
    ],
    ids=lambda value: getattr(value, 'dtype', value) and str(getattr(value, 'shape', value)),
)
def test_a_file_of_another_shape_or_type_is_refused(config, cache, file, content):
    np.save(Path(cache) / f'{file}.npy', content)
    with pytest.raises(InputError, match=rf'teacher_cache: .*{file}\.npy is damaged'):
        cached(config, cache)


@pytest.mark.parametrize('content', [b'', b'\x93NUMPY', b'text', b'PK\x03\x04'])
def test_a_file_of_something_else_is_refused(config, cache, content):
    (Path(cache) / 'shard-00000' / 'vector.npy').write_bytes(content)
    with pytest.raises(InputError, match=r'vector\.npy is damaged; write the cache again'):
        cached(config, cache)


@pytest.mark.parametrize(
    'parts',
    [
        dict(images=0),
        dict(images='20'),
        dict(views=3),
        dict(shapes={}),
        dict(shapes=None),
        dict(shapes={'logits': [10]}),
        dict(types={'logits': 'object', 'vector': 'float32'}),
        dict(shapes={'../x': [3]}, types={'../x': 'float32'}),
        dict(rows=-1),
        dict(modules=[3]),
        dict(format=1),
        dict(more=1),
        dict(rows=0, shapes={}),
        dict(modules=[dict(channels=float('inf'), grid=None, num_prefix_tokens=0, path='')]),
    ],
    ids=str,
)
def test_an_index_of_something_else_is_refused(config, cache, parts):
    with pytest.raises(InputError, match=r'index\.json is damaged or of another version'):
        cached(config, changed(cache, **parts))


def test_a_single_file_is_no_cache(config, tmp_path):
    torch.save(dict(logits=torch.zeros(3, 20, 10)), tmp_path / 'cache.pt')
    with pytest.raises(InputError, match=r'cache\.pt is a file, and a cache is a folder'):
        cached(config, str(tmp_path / 'cache.pt'))


@pytest.mark.parametrize('removed', ['shard-00001', 'labels.npy', 'shard-00002/logits.npy'])
def test_a_cache_that_is_not_complete_is_refused(config, tmp_path, removed):
    path = Path(write_cache(config, tmp_path / 'cache', rows=7))
    if removed.endswith('.npy'):
        (path / removed).unlink()
    else:
        shutil.rmtree(path / removed)
    with pytest.raises(
        InputError, match='is not complete: run the same mmmuse cache-teacher again'
    ):
        cached(config, str(path))
    write_cache(config, path, rows=7)
    cached(config, str(path))


def cached(config, cache: str, losses=None, **preprocessor):
    preprocessor = {**PREPROCESSOR, 'fixed_views': 3, **preprocessor}
    return MODELS.build(
        dict(
            type='mmmuse.OfflineDistiller',
            student={**config.model.student, 'data_preprocessor': preprocessor},
            teacher_cache=cache,
            taps=TAPS,
            losses=losses or [KD, MUSE, CRD],
        )
    ).train()


def training_set(config):
    return DATASETS.build(config.train_dataloader.dataset)


def test_cached_losses_are_those_of_the_teacher_itself_in_every_epoch(config, cache, hub):
    dataset = training_set(config)
    taught = cached(config, cache, [KD, MUSE])
    taught.prepare(torch.as_tensor(dataset.labels))
    live = build_offline(config, 3, seed=3)
    live.student.load_state_dict(taught.student.state_dict())
    for epoch in (0, 2, 4):  # The fifth epoch has the views of the second.
        hub.update_info('epoch', epoch)
        batch = taught.data_preprocessor(dataset.__getitems__([5, 0, 19, 7]), training=True)
        found = taught.teacher(batch['inputs'], batch['data_samples'])
        expected = live.teacher(batch['inputs'])
        torch.testing.assert_close(found.logits, expected.logits)
        torch.testing.assert_close(found.last_vector, expected.last_vector)


def test_it_trains_without_a_teacher(config, cache, hub):
    dataset = training_set(config)
    distiller = cached(config, cache)
    distiller.prepare(torch.as_tensor(dataset.labels))
    batch = distiller.data_preprocessor(dataset.__getitems__([1, 2, 3]), training=True)
    total, _ = distiller.parse_losses(distiller(**batch, mode='loss'))
    total.backward()
    assert [name for name, value in distiller.named_parameters() if value.grad is None] == []


@pytest.mark.parametrize(
    ('preprocessor', 'message'),
    [
        (dict(fixed_views=2), r'fixed_views is 2 and was 3'),
        (dict(seed=4), r'seed is 4 and was 3'),
        (dict(crop_padding=2), r'crop_padding is 2 and was 1'),
    ],
)
def test_other_views_are_refused(config, cache, preprocessor, message):
    with pytest.raises(InputError, match=f'is of other views: data_preprocessor.{message}'):
        cached(config, cache, **preprocessor)


def test_another_training_set_is_refused(config, cache):
    with pytest.raises(InputError, match='of another training set: of 20 images, not these 19'):
        cached(config, cache).prepare(torch.as_tensor(training_set(config).labels[:19]))


def test_other_images_with_the_same_labels_are_refused(config, cache):
    dataset = training_set(config)
    teacher = cached(config, cache).teacher
    teacher.check_data_set(dataset)
    dataset.images = 240 - dataset.images
    with pytest.raises(
        InputError, match='another training set: the labels are the same and the images'
    ):
        teacher.check_data_set(dataset)


MAPS = [
    KD,
    MUSE,
    CRD,
    dict(type='mmmuse.FitNetLoss', modules=[3]),
    dict(type='mmmuse.AttentionTransferLoss', modules=[2, 4]),
    dict(type='mmmuse.ReviewKDLoss', modules=[2, 3]),
]


def test_maps_are_stored_and_are_those_of_the_teacher(config, hub, tmp_path):
    config.model.losses = MAPS
    path = write_cache(config, tmp_path / 'cache', kind='float32', rows=7)
    assert sorted(folder.name for folder in (tmp_path / 'cache').glob('shard-*/*.npy'))[:4] == [
        *('logits.npy', 'logits.npy', 'logits.npy', 'logits.npy')
    ]
    index = of_index.CacheIndex.of_folder(Path(path), 'cache')
    assert set(index.shapes) == {'logits', 'module2', 'module3', 'module4'}
    taught = cached(config, path, MAPS)
    dataset = training_set(config)
    taught.prepare(torch.as_tensor(dataset.labels))
    live = build_offline(config, 3, seed=3).train()
    live.prepare(torch.as_tensor(dataset.labels))
    live.load_state_dict(taught.state_dict())
    hub.update_info('epoch', 1)
    batch = taught.data_preprocessor(dataset.__getitems__([19, 0, 5, 7]), training=True)
    losses = []
    for distiller in (taught, live):
        torch.manual_seed(0)
        losses.append(distiller(**batch, mode='loss'))
    assert losses[0].keys() == losses[1].keys()
    for name, value in losses[0].items():
        torch.testing.assert_close(
            value, losses[1][name], msg=lambda said, name=name: f'{name}: {said}'
        )


def test_tokens_and_maps_are_float16_by_default(config, tmp_path):
    config.model.losses = MAPS
    index = cache_index(config, build_offline(config, 2, seed=3), loader_of(config))
    assert index.types == {
        'logits': 'float32',
        'module2': 'float16',
        'module3': 'float16',
        'module4': 'float16',
    }
    channels = {2: 6, 3: 12, 4: 24}
    grids = {2: 8, 3: 4, 4: 2}
    row = 40 + sum(2 * channels[i] * grids[i] ** 2 for i in channels)
    assert index.num_bytes == 2 * 20 * row
    assert described(index) == (
        f'2 views of 20 images, {2 * 20 * row / 1024:.3g} KiB: logits 10 float32, module2 6 x 8 x 8 float16, '
        'module3 12 x 4 x 4 float16, module4 24 x 2 x 2 float16'
    )


def test_what_other_runs_read_is_stored_too(config):
    distiller, loader = build_offline(config, 2, seed=3), loader_of(config)
    index = cache_index(config, distiller, loader, more=['module1'])
    assert index.shapes == {'logits': (10,), 'module1': (6, 8, 8), 'vector': (24,)}
    with pytest.raises(
        InputError, match='has no module5; available: module1, module2, module3, module4, v'
    ):
        cache_index(config, distiller, loader, more=['module5'])


def test_a_loss_of_what_is_not_stored_is_refused(config, cache):
    for kind, module in (('VIDLoss', 1), ('FitNetLoss', 4), ('ReviewKDLoss', 2)):
        with pytest.raises(InputError) as error:
            cached(config, cache, [KD, dict(type=f'mmmuse.{kind}', modules=[module])])
        assert f'holds logits, vector, and the losses read module{module} too' in str(error.value)


def test_other_modules_are_refused(config, tmp_path):
    config.model.losses = MAPS
    path = write_cache(config, tmp_path / 'cache')
    other = {**TAPS, 'modules': ['backbone.conv1', 'backbone.layer1', 'backbone.layer2']}
    with pytest.raises(InputError, match=r'another teacher: teacher_taps\.modules differs'):
        named(config, path, teacher_taps=other, losses=MAPS)


def test_features_are_learned_from_a_cache_as_from_the_teacher(config, hub, tmp_path):
    features = {**config.model, 'type': 'mmmuse.FeatureDistiller', 'losses': None, 'taps': 'last'}
    config.model = {**features, 'student': features['student']['backbone']}
    config.data_preprocessor = {**PREPROCESSOR, 'num_views': 2}
    path = write_cache(config, tmp_path / 'cache', kind='float32')
    index = of_index.CacheIndex.of_folder(Path(path), 'cache')
    assert index.shapes == {'module1': (24, 2, 2)}
    once = {**PREPROCESSOR, 'fixed_views': 3}
    learner = MODELS.build(
        {**config.model, 'teacher_cache': path, 'data_preprocessor': once}
    ).train()
    dataset = training_set(config)
    learner.prepare(torch.as_tensor(dataset.labels))
    live = build_offline(config, 3, seed=3).train()
    live.load_state_dict(learner.state_dict())
    hub.update_info('epoch', 2)
    batch = learner.data_preprocessor(dataset.__getitems__([19, 0, 5]), training=True)
    losses = [distiller(**batch, mode='loss') for distiller in (learner, live)]
    assert set(losses[0]) == {'loss_align_maps', 'loss_align_vector'}
    torch.testing.assert_close(*losses)
    assert 'feature_loss' not in learner.eval()(**batch, mode='predict')[0]
    assert 'feature_loss' in live.eval()(**batch, mode='predict')[0]


def test_a_data_set_of_single_images_is_refused(config):
    config.train_dataloader.dataset = dict(type='FakeOfSingleImages')
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATASETS._module_dict, 'FakeOfSingleImages', SingleImages)
        with pytest.raises(InputError, match=r'a data set of batched images, .* got SingleImages'):
            loader_of(config)


class SingleImages(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 3

    def get_gt_labels(self) -> np.ndarray:
        return np.zeros(3, np.int64)


class StopError(Exception):
    pass


def test_an_interrupted_cache_goes_on_and_ends_in_the_same_bytes(config, tmp_path):
    def stop(done: int, total: int) -> None:
        if done >= 22:
            raise StopError

    whole = Path(write_cache(config, tmp_path / 'whole', rows=7))
    distiller, loader = build_offline(config, 3, seed=3), loader_of(config)
    index = of_index.CacheIndex(**{**vars(cache_index(config, distiller, loader)), 'rows': 7})
    part = tmp_path / 'part'
    with pytest.raises(StopError):
        cache_teacher(distiller, loader, index, part, stop)
    assert sorted(folder.name for folder in part.glob('shard-*')) == [
        *('shard-00000', 'shard-00001', 'shard-00002', 'shard-00003')
    ]
    seen = []
    cache_teacher(distiller, loader, index, part, lambda done, total: seen.append((done, total)))
    assert seen[0] == (35, 60)
    assert seen[-1] == (60, 60)
    files = sorted(file.relative_to(whole) for file in whole.rglob('*') if file.is_file())
    assert len(files) == 2 + 2 * 9
    for file in files:
        assert (whole / file).read_bytes() == (part / file).read_bytes()
    seen.clear()
    cache_teacher(distiller, loader, index, part, lambda *places: seen.append(places))
    assert seen == []


def test_a_folder_of_something_else_is_not_written_to(config, cache, tmp_path):
    with pytest.raises(
        InputError, match='holds a cache of another teacher, other data or other settings'
    ):
        write_cache(config, Path(cache), views=2)
    before = {file: file.read_bytes() for file in Path(cache).rglob('*.*') if file.is_file()}
    config.train_dataloader.dataset.indices = range(20, 40)
    with pytest.raises(InputError, match='other data or other settings'):
        write_cache(config, Path(cache))
    assert {file: file.read_bytes() for file in before} == before
    (tmp_path / 'other').mkdir()
    (tmp_path / 'other' / 'file').touch()
    with pytest.raises(InputError, match='already exists'):
        write_cache(config, tmp_path / 'other')
    assert [file.name for file in (tmp_path / 'other').iterdir()] == ['file']


def test_a_cache_that_does_not_fit_onto_its_disk_is_refused(config, tmp_path, monkeypatch):
    index = cache_index(config, build_offline(config, 3, seed=3), loader_of(config))
    check_space(index, tmp_path / 'a' / 'b')
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: shutil._ntuple_diskusage(100, 0, 5000))
    with pytest.raises(
        InputError, match=r'needs 7\.97 KiB, and .* has 4\.88 KiB left: fewer --views'
    ):
        check_space(index, tmp_path / 'a' / 'b')


def test_a_number_too_large_for_float16_is_refused(config, tmp_path):
    weights = torch.load(config.model.teacher_checkpoint)
    weights['head.fc.bias'][3] = 1e6
    torch.save(weights, config.model.teacher_checkpoint)
    with pytest.raises(
        InputError, match='logits, is not finite in float16: delete the folder and pass'
    ):
        write_cache(config, tmp_path / 'cache', kind='float16')
    write_cache(config, tmp_path / 'other', kind='float32')


def test_a_training_set_that_was_not_compared_is_refused(config, cache, hub):
    distiller = cached(config, cache, [KD])
    batch = distiller.data_preprocessor(training_set(config).__getitems__([1]), training=True)
    with pytest.raises(InputError, match='has not been compared with the training set'):
        distiller(**batch, mode='loss')


def test_a_missing_cache_is_named(config):
    with pytest.raises(
        InputError, match=r'teacher_cache none has no index\.json: mmmuse cache-teacher writes a'
    ):
        cached(config, 'none')


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (dict(fixed_views=0), 'fixed_views is None or an integer of at least 1, got 0'),
        (dict(fixed_views=2, seed=None), 'fixed_views needs a seed'),
        (dict(fixed_views=2, num_views=2), 'fixed_views needs a seed, and goes with num_views=1'),
    ],
)
def test_fixed_views_need_a_seed_and_one_view_at_a_time(options, said):
    with pytest.raises(InputError, match=said):
        MODELS.build({**PREPROCESSOR, **options})


def test_mixed_images_have_no_outputs_to_keep(config, cache):
    mixed = dict(augments=dict(type='Mixup', alpha=0.2))
    with pytest.raises(InputError, match='batch_augments mixes them'):
        cached(config, cache, batch_augments=mixed, num_classes=10)
    config.data_preprocessor.batch_augments = mixed
    with pytest.raises(InputError, match='batch_augments mixes them'):
        build_offline(config, 2, seed=3)


def test_only_an_offline_distiller_has_a_teacher(config):
    config.model = network(num_classes=10, in_channels=1)
    with pytest.raises(InputError, match=r'not an mmmuse\.OfflineDistiller'):
        build_offline(config, 2, seed=3)


def test_an_average_reads_the_same_cache(config, cache):
    distiller = cached(config, cache, [KD])
    assert copy.deepcopy(distiller).teacher is distiller.teacher


def test_a_teacher_by_name_is_cached_and_recognised(config, tmp_path):
    teacher = timm_teacher('vit', num_classes=10)
    config.model['teacher'], config.model['teacher_checkpoint'] = teacher, None
    path = Path(write_cache(config, tmp_path / 'named', views=2))
    assert of_index.CacheIndex.of_folder(path, 'cache').shapes == {'logits': (10,), 'vector': (24,)}
    preprocessor = dict(PREPROCESSOR, fixed_views=2)
    model = dict(config.model, data_preprocessor=preprocessor, teacher_cache=str(path))
    assert MODELS.build(model).teacher.specs.num_classes == 10
    model['teacher'] = dict(teacher, input_size=64)
    with pytest.raises(
        InputError, match="holds the outputs of another teacher: the teacher's config"
    ):
        MODELS.build(model)
