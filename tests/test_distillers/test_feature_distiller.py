"""A backbone learns a teacher's features, and is then a plain backbone."""

import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from torch import nn

from mmmuse.checkpoints.student_config import student_configs
from mmmuse.distillers import FeatureDistiller
from mmmuse.errors import InputError
from mmmuse.functional import alignment_loss
from mmmuse.optim import BFloat16OptimWrapper
from mmmuse.registry import MODELS

from ..conftest import labelled
from ..test_hooks.test_student_checkpoint import assert_same, build_runner, loader, read, train
from .transfer import CRD, LABELS, MUSE, features, network

BACKBONE = dict(
    type='mmmuse.SmallResNetCIFAR', depth=20, in_channels=3, stem_channels=4, base_channels=4
)
MODULES = ['backbone.layer1', 'backbone.layer2']


def config(**options) -> dict:
    return dict(
        type='mmmuse.FeatureDistiller',
        student=BACKBONE,
        teacher=MODELS.build(network(6)),
        **options,
    )


def distiller(**options) -> FeatureDistiller:
    """A network of width 4 that learns from one of width 6, in training mode."""
    return MODELS.build({**config(), **options}).train()


def views(number: int = 2, images: int = 4) -> tuple[list[torch.Tensor], list]:
    return list(torch.randn(number, images, 3, 16, 16)), labelled(LABELS[:images])


def step(model: FeatureDistiller, wrapper: OptimWrapper | None = None) -> None:
    inputs, samples = views()
    wrapper = wrapper or OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    model.train_step(dict(inputs=inputs, data_samples=samples), wrapper)


def test_the_loss_is_that_of_both_networks_on_each_view():
    model = distiller()
    inputs, samples = views()
    student = copy.deepcopy(model.student)
    teacher = model.teacher.model
    maps, vectors = 0.0, 0.0
    for view in inputs:
        own, target = student.backbone(view)[-1], teacher.backbone(view)[-1]
        assert own.shape[2:] == target.shape[2:]
        maps += alignment_loss(
            nn.functional.linear(own.movedim(1, 3), *model.losses[0].projection.parameters()),
            target.movedim(1, 3),
        )
        vectors += alignment_loss(model.losses[1].projection(own.mean((2, 3))), target.mean((2, 3)))
    losses = model(inputs, samples, mode='loss')
    assert set(losses) == {'loss_align_maps', 'loss_align_vector'}
    torch.testing.assert_close(losses['loss_align_maps'], maps / 2)
    torch.testing.assert_close(losses['loss_align_vector'], vectors / 2)


def test_muse_learns_between_the_students_modules_and_the_teachers_last_feature():
    model = distiller(taps=dict(modules=MODULES), losses=[MUSE])
    losses = model(*views(), mode='loss')
    assert set(losses) == {'loss_muse', *(f'{x}_loss_{i}' for x in ('mi', 'si') for i in (1, 2))}
    assert (
        model.losses[0].target_specs[0].channels == 24
    )  # The teacher's, where the student has 16.


def test_batched_views_of_the_preprocessor_are_split():
    preprocessor = dict(type='mmmuse.BatchedDataPreprocessor', num_views=2, flip_prob=0.5)
    model = distiller(data_preprocessor=preprocessor)
    inputs, samples = views()
    again = copy.deepcopy(model)
    apart = model(inputs, samples, mode='loss')
    together = again(torch.cat(inputs), samples * 2, mode='loss')
    torch.testing.assert_close(together, apart)


def test_labels_are_not_read():
    model = distiller()
    inputs, samples = views()
    expected = copy.deepcopy(model)(inputs, samples, mode='loss')
    without = [type(sample)() for sample in samples]
    assert_same(dict(model(inputs, without, mode='loss')), dict(expected))


def test_every_parameter_gets_a_gradient_and_the_teacher_none():
    model = distiller(taps=dict(modules=MODULES), losses=[MUSE, *map(dict, FIRST)])
    before = copy.deepcopy(model.teacher.model.state_dict())
    total, _ = model.parse_losses(model(*views(), mode='loss'))
    total.backward()
    assert [name for name, value in model.named_parameters() if value.grad is None] == []
    assert all(value.grad is None for value in model.teacher.model.parameters())
    step(model)
    assert_same(model.teacher.model.state_dict(), before)


FIRST = (dict(type='mmmuse.MapAlignmentLoss'), dict(type='mmmuse.VectorAlignmentLoss'))


def test_the_student_has_the_names_of_its_backbone_and_nothing_else():
    model = distiller()
    names = {f'student.backbone.{name}' for name in MODELS.build(BACKBONE).state_dict()}
    found = set(model.state_dict())
    assert {name for name in found if not name.startswith('losses.')} == names
    assert not any(name.startswith('teacher') for name, _ in model.named_modules())


def test_norms_of_outputs_that_are_not_read_are_not_trained():
    model = features()
    frozen = [n for n, value in model.student.named_parameters() if not value.requires_grad]
    assert frozen == ['backbone.norm0.weight', 'backbone.norm0.bias']
    total, _ = model.parse_losses(model(*views(), mode='loss'))
    total.backward()
    missing = [name for name, value in model.student.named_parameters() if value.grad is None]
    assert missing == frozen
    # As a target of MUSE's local maps it is read.
    model = features(taps=dict(modules=['backbone.norm0']), losses=[MUSE])
    assert all(value.requires_grad for value in model.student.parameters())


def test_bfloat16_gives_finite_weights():
    model = distiller(taps=dict(modules=MODULES), losses=[MUSE, *FIRST])
    step(model, BFloat16OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.01)))
    assert all(torch.isfinite(value).all() for value in model.parameters())


def test_a_prediction_has_the_loss_and_the_pooled_feature():
    model = distiller(taps=dict(modules=MODULES), losses=[MUSE, *FIRST]).eval()
    (images, _), samples = views()
    with torch.no_grad():
        found = model(images, samples, mode='predict')
        own, target = model.student.backbone(images)[-1], model.teacher.model.backbone(images)[-1]
        vector = own.mean((2, 3))
        losses = [
            alignment_loss(
                nn.functional.linear(own.movedim(1, 3), *model.losses[1].projection.parameters()),
                target.movedim(1, 3),
            ),
            alignment_loss(model.losses[2].projection(vector), target.mean((2, 3))),
        ]
    torch.testing.assert_close(torch.stack([sample.feature for sample in found]), vector)
    torch.testing.assert_close(found[0].feature_loss, sum(losses))
    assert len(model(images[:1], mode='predict')) == 1  # MUSE needs two images.
    only_muse = distiller(taps=dict(modules=MODULES), losses=[MUSE]).eval()
    assert 'feature_loss' not in only_muse(images, mode='predict')[0]


@pytest.mark.parametrize(
    'student',
    [
        dict(type='ImageClassifier', backbone=BACKBONE, neck=dict(type='GlobalAveragePooling')),
        dict(type='FasterRCNN', _scope_='mmdet', backbone=BACKBONE, neck=dict(type='FPN')),
        dict(model=dict(type='RetinaNet', backbone=BACKBONE), default_scope='mmdet'),
        dict(model=dict(type='EncoderDecoder', backbone=BACKBONE), default_scope='mmseg'),
        BACKBONE,
    ],
)
def test_the_backbone_of_any_model_can_be_the_student(student):
    model = distiller(student=student)
    assert type(model.student).__name__ == 'ImageClassifier'
    assert {name.split('.')[0] for name in model.student.state_dict()} == {'backbone'}


def test_what_a_detector_keeps_frozen_is_trained():
    backbone = dict(
        type='ResNet', depth=18, base_channels=4, stem_channels=4, frozen_stages=1, norm_eval=True
    )
    model = distiller(student=dict(type='RetinaNet', _scope_='mmdet', backbone=backbone))
    assert type(model.student.backbone).__module__.startswith('mmdet')
    assert all(value.requires_grad for value in model.student.parameters())
    assert all(module.training for module in model.student.modules())


def test_tokens_of_images_that_are_not_square_are_compared_where_they_are():
    tokens = dict(
        type='VisionTransformer',
        arch=dict(embed_dims=8, num_layers=1, num_heads=2, feedforward_channels=8),
        img_size=(32, 64),
        patch_size=16,
        out_type='raw',
    )
    model = distiller(
        student=tokens,
        taps=dict(last='backbone.layers.0'),
        losses=[dict(type='mmmuse.MapAlignmentLoss')],
        input_shape=(3, 32, 64),
        teacher_input_shape=(3, 32, 64),
    ).eval()
    images = torch.randn(2, 3, 32, 64)
    with model.tapped:
        model.student(images)
        own = model.tapped.taps.pop()['backbone.layers.0'][:, 1:].unflatten(1, (2, 4))
    target = nn.functional.adaptive_avg_pool2d(model.teacher(images).last, (2, 4))
    expected = alignment_loss(model.losses[0].projection(own), target.movedim(1, 3))
    found = model.loss(images, labelled([0, 1]))['loss_align_maps']
    torch.testing.assert_close(found, expected)


def test_the_evaluated_loss_does_not_depend_on_the_balance():
    teacher = MODELS.build(network(6))
    model = distiller(teacher=teacher, loss_balance='gradient')
    inputs, samples = views()
    before = model.eval()(inputs, samples, mode='predict')[0].feature_loss
    model.train()(inputs, samples, mode='loss')
    model(inputs, samples, mode='loss')
    assert model.losses[1].balance != 1.0
    model.losses.eval()
    student = distiller(teacher=teacher)
    student.load_state_dict(model.state_dict(), strict=False)
    found = [
        each.eval()(inputs, samples, mode='predict')[0].feature_loss for each in (model, student)
    ]
    torch.testing.assert_close(*found)
    assert before.isfinite()


def test_a_backbone_of_another_library_can_be_a_teacher_only():
    with pytest.raises(InputError, match='of another library and can be a teacher only'):
        distiller(student='timm::resnet18')


def test_checkpointed_blocks_are_no_hindrance():
    backbone = dict(type='ResNet', depth=18, stem_channels=8, base_channels=8, with_cp=True)
    model = distiller(student=backbone)
    assert all(value.requires_grad for value in model.student.parameters())
    assert all(value.grad is None for value in model.student.parameters())


def test_a_built_backbone_keeps_its_weights():
    built = MODELS.build(BACKBONE)
    before = copy.deepcopy(built.state_dict())
    model = distiller(student=built)
    model.init_weights()
    assert_same(model.student.backbone.state_dict(), before)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(student=dict(type='ImageClassifier', head={})), 'the student is a backbone, and'),
        (dict(student=MODELS.build(network(4))), 'has other weights, such as head.fc.weight'),
        (dict(losses=[CRD]), 'CRDLoss reads labels, and FeatureDistiller has none'),
        (dict(losses=[dict(type='mmmuse.KDLoss')]), r'compares class logits: set taps\.logits'),
        (dict(losses=[MUSE]), r'MUSELoss compares features: set taps\.modules'),
        (dict(losses=[]), 'needs losses'),
        (
            dict(teacher=[MODELS.build(network(6))]),
            'teacher is None, a dict, a string or a built BaseModel, got',
        ),
        (dict(teacher_taps=dict(last='neck')), r"MapAlignmentLoss compares maps.*'neck'.*a vector"),
        (dict(teacher_taps='first'), "teacher_taps is a dict or 'auto' or 'last', got 'first'"),
        (dict(teacher=network(6)), 'the teacher has no trained weights'),
        (
            dict(losses=[dict(type='mmmuse.VectorAlignmentLoss', distance='l2')]),
            "distance is 'cosine' or 'smooth_l1', got 'l2'",
        ),
    ],
)
def test_what_cannot_be_learned_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        distiller(**options)


def test_a_vector_can_be_learned_from_a_vector():
    vector = [dict(type='mmmuse.VectorAlignmentLoss', distance='smooth_l1')]
    model = distiller(teacher_taps=dict(last='neck'), losses=vector)
    assert set(model(*views(), mode='loss')) == {'loss_align_vector'}


@pytest.fixture(scope='module')
def teacher_file(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp('teacher') / 'teacher.pth'
    torch.save(dict(state_dict=MODELS.build(network(6, in_channels=1)).state_dict()), path)
    return str(path)


def run_options(teacher: str, ema: bool = False) -> dict:
    """Of a training on batched images, which have labels that nothing reads."""
    preprocessor = dict(
        type='mmmuse.BatchedDataPreprocessor',
        mean=[120.0],
        std=[60.0],
        flip_prob=0.5,
        num_views=2,
    )
    hooks = ['StudentCheckpointHook', 'BackboneCheckpointHook']
    hooks = [dict(type=f'mmmuse.{name}') for name in hooks]
    return dict(
        model=dict(
            type='mmmuse.FeatureDistiller',
            student={**BACKBONE, 'in_channels': 1},
            teacher=network(6, in_channels=1),
            teacher_checkpoint=teacher,
            taps=dict(modules=MODULES),
            losses=[*FIRST, MUSE],
            data_preprocessor=preprocessor,
        ),
        custom_hooks=hooks + [dict(type='EMAHook', momentum=0.1)] * ema,
    )


@pytest.mark.parametrize('ema', [False, True])
def test_a_resumed_run_takes_the_step_that_an_uninterrupted_one_takes(ema, teacher_file, tmp_path):
    straight, path = train(tmp_path / 'one', epochs=2, **run_options(teacher_file, ema))
    first = tmp_path / 'one' / 'epoch_1.pth'
    resumed, again = train(
        tmp_path / 'two',
        epochs=2,
        load_from=str(first),
        resume=True,
        **run_options(teacher_file, ema),
    )
    assert_same(resumed.model.state_dict(), straight.model.state_dict())
    saved, other = read(path), read(again)
    assert_same(saved['state_dict'], other['state_dict'])
    assert_same(saved['distiller'], other['distiller'])
    backbone = MODELS.build({**BACKBONE, 'in_channels': 1}).state_dict()
    assert list(saved['state_dict']) == [f'backbone.{name}' for name in backbone]
    assert {name.split('.')[0] for name in saved['distiller']} == {'losses'}
    alone = read(path.with_name('epoch_2.backbone.pth'))
    assert set(alone) == {'meta', 'state_dict'}
    assert_same({f'backbone.{k}': v for k, v in alone['state_dict'].items()}, saved['state_dict'])
    if ema:
        averaged = straight.hooks[[type(h).__name__ for h in straight.hooks].index('EMAHook')]
        assert_same(averaged.ema_model.module.student.state_dict(), saved['state_dict'])


# A ResNet-18 of 4 to 32 channels in a config of each library.
LIBRARIES = {
    'mmpretrain': dict(
        type='ImageClassifier',
        backbone=dict(type='ResNet', depth=18, stem_channels=4, base_channels=4),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=3, in_channels=32),
    ),
    'mmdet': dict(
        type='RetinaNet',
        backbone=dict(
            type='ResNet',
            depth=18,
            stem_channels=4,
            base_channels=4,
            frozen_stages=1,
            norm_cfg=dict(type='BN', requires_grad=True),
            norm_eval=True,
            style='pytorch',
        ),
        neck=dict(type='FPN', in_channels=[4, 8, 16, 32], out_channels=4, num_outs=5),
        bbox_head=dict(
            type='RetinaHead',
            num_classes=3,
            in_channels=4,
            feat_channels=4,
            stacked_convs=1,
            anchor_generator=dict(
                type='AnchorGenerator', ratios=[1.0], scales=[4], strides=[8, 16, 32, 64, 128]
            ),
            bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
        ),
    ),
    'mmseg': dict(
        type='EncoderDecoder',
        data_preprocessor=dict(type='SegDataPreProcessor'),
        backbone=dict(type='ResNetV1c', depth=18, stem_channels=4, base_channels=4),
        decode_head=dict(
            type='FCNHead',
            in_channels=32,
            in_index=3,
            channels=4,
            num_convs=1,
            num_classes=2,
            norm_cfg=dict(type='BN'),
        ),
        test_cfg=dict(mode='whole'),
    ),
}


@pytest.mark.parametrize('library', LIBRARIES)
def test_each_library_reads_the_files_exactly(library, tmp_path):
    model = LIBRARIES[library]
    scope = dict(model, _scope_=library)
    distilled = dict(
        type='mmmuse.FeatureDistiller', student=dict(model=model, default_scope=library)
    )
    runner = build_runner(
        tmp_path,
        model=dict(distilled, teacher=MODELS.build(network(6))),
        custom_hooks=[
            dict(type='mmmuse.StudentCheckpointHook'),
            dict(type='mmmuse.BackboneCheckpointHook'),
        ],
        train_dataloader=dict(
            loader(shuffle=False), dataset=ThreeChannels(), collate_fn=dict(type='default_collate')
        ),
    )
    runner.train()
    trained = runner.model.student.backbone.state_dict()
    for file, prefix in (('epoch_1', 'backbone.'), ('epoch_1.backbone', None)):
        checkpoint = str(tmp_path / f'{file}.pth')
        init = dict(type='Pretrained', checkpoint=checkpoint, prefix=prefix)
        downstream = copy.deepcopy(scope)
        downstream['backbone'].update(frozen_stages=-1, init_cfg=init)
        fresh = MODELS.build(downstream)
        fresh.init_weights()
        assert_same(fresh.backbone.state_dict(), trained)
        names = [name.removeprefix(prefix or '') for name in read(checkpoint)['state_dict']]
        assert names == list(trained)  # Nothing is missing, and nothing is left over.
    preprocessor = dict(mean=[9.0] * 3, std=[2.0] * 3, bgr_to_rgb=True)
    texts = student_configs(Config(dict(model=distilled, data_preprocessor=preprocessor)))
    (tmp_path / 'student.py').write_text(texts['student.py'], encoding='utf-8')
    plain = Config.fromfile(tmp_path / 'student.py')
    assert 'mmmuse.' not in plain.dump()
    student = MODELS.build(plain.model)
    student.load_state_dict(read(tmp_path / 'epoch_1.pth')['state_dict'])  # Strictly.
    raw = torch.full((1, 3, 8, 8), 5, dtype=torch.uint8)
    inputs = student.data_preprocessor(dict(inputs=raw))['inputs']
    assert inputs.unique().item() == -2
    assert student.data_preprocessor.to_rgb


class ThreeChannels(torch.utils.data.Dataset):
    """Four pairs of views."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> dict:
        generator = torch.Generator().manual_seed(index)
        images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=generator)
        return dict(inputs=list(images), data_samples=labelled([0])[0])
