import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS

from mmmuse.analysis.teacher_outputs import build_offline, cache_teacher, save_cache
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


@pytest.fixture
def cache(config, tmp_path) -> str:
    path = tmp_path / 'cache.pt'
    save_cache(cache_teacher(config, build_offline(config, 3, seed=3)), path)
    return str(path)


def changed(cache: str, **parts) -> str:
    content = torch.load(cache)
    torch.save({**content, **parts}, cache)
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
    path = tmp_path / 'cache.pt'
    save_cache(cache_teacher(config, build_offline(config, 3, seed=3)), path)
    named(config, str(path))
    with pytest.raises(InputError, match='another teacher: teacher_input_size differs'):
        named(config, str(path), teacher_input_size=None)


def test_a_teacher_without_preprocessor_saw_images_that_the_students_prepared(config, cache):
    with pytest.raises(InputError, match="another teacher: the student's data_preprocessor, which"):
        cached(config, cache, mean=[100.0])


def test_a_cache_that_does_not_say_whose_it_is_is_refused(config, cache):
    content = torch.load(cache)
    del content['teacher']
    torch.save(content, cache)
    for build in (cached, named):
        with pytest.raises(InputError, match=r'earlier version; write it again with mmmuse cache-'):
            build(config, cache)


@pytest.mark.parametrize(
    'parts',
    [
        dict(logits=torch.zeros(3, 20)),
        dict(logits=torch.zeros(3, 19, 10)),
        dict(logits=torch.zeros(2, 20, 10)),
        dict(logits=torch.zeros(3, 20, 0)),
        dict(logits=torch.zeros(3, 20, 10, dtype=torch.int64)),
        dict(vectors=torch.zeros(3, 20, 16, 1)),
        dict(vectors=torch.zeros(3, 20, 16, dtype=torch.complex64)),
        dict(labels=torch.zeros(21, dtype=torch.int64)),
        dict(labels=torch.zeros(20, 1, dtype=torch.int64)),
        dict(labels=torch.zeros(20)),
    ],
    ids=lambda parts: ' '.join(f'{key} {tuple(t.shape)} {t.dtype}' for key, t in parts.items()),
)
def test_a_cache_whose_tensors_do_not_fit_is_refused(config, cache, parts):
    with pytest.raises(InputError, match=r'cache\.pt is damaged: its logits \(V, M, K\), vectors'):
        cached(config, changed(cache, **parts))


def test_a_cache_of_fewer_views_than_it_says_is_refused(config, cache):
    content = torch.load(cache)
    short = {name: content[name][:2].clone() for name in ('logits', 'vectors')}
    with pytest.raises(InputError, match='has 2 views and says that it has 3'):
        cached(config, changed(cache, **short))


@pytest.mark.parametrize('parts', [dict(logits=None), dict(views=3), dict(labels='abc')])
def test_a_cache_of_other_parts_is_refused(config, cache, parts):
    with pytest.raises(InputError, match=r'cache\.pt is damaged or not a teacher cache'):
        cached(config, changed(cache, **parts))


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
    taught = cached(config, cache, [KD])
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


def test_losses_of_maps_are_refused(config, cache):
    for kind in ('VIDLoss', 'FitNetLoss', 'ReviewKDLoss', 'AFDLoss'):
        with pytest.raises(InputError, match='holds only logits and the last pooled feature'):
            cached(config, cache, [dict(type=f'mmmuse.{kind}')])


def test_a_training_set_that_was_not_compared_is_refused(config, cache, hub):
    distiller = cached(config, cache, [KD])
    batch = distiller.data_preprocessor(training_set(config).__getitems__([1]), training=True)
    with pytest.raises(InputError, match='has not been compared with the training set'):
        distiller(**batch, mode='loss')


def test_a_missing_or_damaged_file_is_named(config, tmp_path):
    with pytest.raises(InputError, match=r'no teacher_cache none\.pt: mmmuse cache-teacher'):
        cached(config, 'none.pt')
    torch.save(dict(logits=torch.zeros(1)), tmp_path / 'other.pt')
    with pytest.raises(InputError, match=r'other\.pt is damaged or not a teacher cache'):
        cached(config, str(tmp_path / 'other.pt'))


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
    path = tmp_path / 'named.pt'
    cache = cache_teacher(config, build_offline(config, 2, seed=3))
    assert cache['vectors'].shape == (2, 20, 24)
    save_cache(cache, path)
    preprocessor = dict(PREPROCESSOR, fixed_views=2)
    model = dict(config.model, data_preprocessor=preprocessor, teacher_cache=str(path))
    assert MODELS.build(model).teacher.specs.num_classes == 10
    model['teacher'] = dict(teacher, input_size=64)
    with pytest.raises(
        InputError, match="holds the outputs of another teacher: the teacher's config"
    ):
        MODELS.build(model)
