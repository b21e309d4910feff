from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmpretrain.models.utils import ClsDataPreprocessor
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from mmmuse.datasets import BatchedDataPreprocessor
from mmmuse.errors import InputError

from ..conftest import small_classifier_config
from .conftest import MEAN, STD

DATASETS = Path(__file__).resolve().parents[2] / 'configs/_base_/datasets'
CUT_AND_MIX = dict(augments=[dict(type='Mixup', alpha=1.0), dict(type='CutMix', alpha=1.0)])


def per_sample(batch: dict) -> dict:
    """The same images as mmpretrain's own pipeline and collation give them."""
    return dict(
        inputs=batch['inputs'],
        data_samples=[DataSample().set_gt_label(label) for label in batch['gt_label']],
    )


def build_loader(dataset, **changes):
    loader = Config.fromfile(DATASETS / 'cifar100.py').train_dataloader
    return Runner.build_dataloader({**loader, 'dataset': dataset, **changes}, seed=0)


def augment(dataset, seed: int | None = None, **changes) -> dict[int, torch.Tensor]:
    """Return the augmented image of each sample index, through the config's DataLoader."""
    preprocessor = BatchedDataPreprocessor(crop_padding=4, flip_prob=0.5, seed=seed)
    augmented = {}
    for batch in build_loader(dataset, **changes):
        inputs = preprocessor(batch, training=True)['inputs']
        augmented.update(zip(batch['sample_idx'].tolist(), inputs))
    return augmented


def equal(first: dict[int, torch.Tensor], second: dict[int, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(image, second[index]) for index, image in first.items()
    )


def share_of_equal_images(first: dict[int, torch.Tensor], second: dict[int, torch.Tensor]) -> float:
    return np.mean([torch.equal(image, second[index]) for index, image in first.items()])


@pytest.mark.slow
@pytest.mark.parametrize(
    'changes',
    [
        dict(num_workers=1),
        dict(num_workers=2),
        dict(num_workers=2, persistent_workers=True),
        dict(batch_size=7),
        dict(sampler=dict(type='DefaultSampler', shuffle=False)),
    ],
)
def test_workers_batch_size_and_order_do_not_change_an_images_augmentation(hub, images, changes):
    expected = augment(images, batch_size=16)
    assert len(expected) == 90
    assert equal(augment(images, **{'batch_size': 16, **changes}), expected)


def test_sharding_over_two_processes_does_not_change_an_images_augmentation(
    hub, images, monkeypatch
):
    expected = augment(images, batch_size=16)
    sharded = {}
    for rank in range(2):
        monkeypatch.setattr('mmengine.dataset.sampler.get_dist_info', lambda rank=rank: (rank, 2))
        sharded.update(augment(images, batch_size=8))
    assert equal(sharded, expected)


def test_global_random_state_neither_changes_nor_is_changed_by_the_augmentation(hub, images):
    batch = images.__getitems__(range(90))
    preprocessor = BatchedDataPreprocessor(crop_padding=4, flip_prob=0.5)
    torch.manual_seed(1), np.random.seed(1)
    first = preprocessor(batch, training=True)['inputs']
    torch_draw, numpy_draw = torch.rand(1), np.random.rand()
    torch.manual_seed(1), np.random.seed(1)
    assert torch.rand(1) == torch_draw
    assert np.random.rand() == numpy_draw
    assert torch.equal(preprocessor(batch, training=True)['inputs'], first)


def test_another_epoch_or_seed_draws_anew(hub, images):
    expected = augment(images)
    hub.update_info('epoch', 1)
    assert share_of_equal_images(augment(images), expected) < 0.1
    hub.update_info_dict(dict(epoch=0, seed=1))
    assert share_of_equal_images(augment(images), expected) < 0.1
    assert equal(augment(images, seed=0), expected)  # The argument goes before the runner's seed.


def test_the_flip_probability_goes_from_never_to_always(images):
    batch = images.__getitems__(range(90))
    for prob, expected in ((0.0, batch['inputs']), (1.0, batch['inputs'].flip(3))):
        preprocessor = BatchedDataPreprocessor(flip_prob=prob)
        assert torch.equal(preprocessor(batch, training=True)['inputs'], expected.float())
    flipped = BatchedDataPreprocessor(flip_prob=0.2)(batch, training=True)['inputs']
    share = np.mean([not torch.equal(a, b) for a, b in zip(flipped, batch['inputs'].float())])
    assert 0.1 < share < 0.3


@pytest.mark.parametrize('world_size', [1, 2])
def test_a_run_of_one_epoch_is_epoch_0_to_its_end(hub, images, monkeypatch, world_size):
    expected = augment(images, batch_size=16)
    monkeypatch.setattr('mmengine.dist.get_world_size', lambda: world_size)
    monkeypatch.setattr('mmengine.dataset.sampler.get_dist_info', lambda: (0, world_size))
    hub.update_info_dict(
        dict(max_epochs=1, iter=2, max_iters=len(build_loader(images, batch_size=16)))
    )
    found = augment(images, batch_size=16)
    assert equal(found, {index: expected[index] for index in found})


def test_an_iteration_based_loop_draws_anew_at_each_iteration(hub, images):
    hub.update_info_dict(dict(max_epochs=1, iter=0, max_iters=60))
    expected = augment(images, batch_size=16)
    hub.update_info('epoch', 5)
    assert equal(augment(images, batch_size=16), expected)
    hub.update_info('iter', 6)
    assert share_of_equal_images(augment(images, batch_size=16), expected) < 0.1


class Recorder(BaseModel):
    """Keeps the training inputs of each epoch."""

    def __init__(self, data_preprocessor) -> None:
        super().__init__(data_preprocessor)
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[torch.Tensor] = []

    def forward(self, inputs, data_samples=None, mode='tensor'):
        self.seen.append(inputs)
        return dict(loss=self.weight.sum())


def train(images, work_dir, max_epochs: int, resume: bool = False) -> list[torch.Tensor]:
    """Train for some epochs of one batch each, and return the batches as the model saw them."""
    loader = Config.fromfile(DATASETS / 'cifar100.py').train_dataloader
    model = Recorder(BatchedDataPreprocessor(crop_padding=4, flip_prob=0.5))
    Runner(
        model,
        str(work_dir),
        train_dataloader={**loader, 'dataset': images, 'batch_size': 90},
        train_cfg=dict(by_epoch=True, max_epochs=max_epochs),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        resume=resume,
        log_level='ERROR',
        randomness=dict(seed=0),
        experiment_name=f'{work_dir.name}_{max_epochs}_{resume}',
    ).train()
    return model.seen


def test_a_resumed_run_sees_the_images_of_an_uninterrupted_one(images, tmp_path):
    full = train(images, tmp_path / 'full', max_epochs=3)
    train(images, tmp_path / 'parts', max_epochs=2)
    resumed = train(images, tmp_path / 'parts', max_epochs=3, resume=True)
    assert (len(full), len(resumed)) == (3, 1)
    assert torch.equal(resumed[0], full[2])


def test_evaluation_normalises_as_mmpretrain_and_does_not_augment(images):
    batch = images.__getitems__(range(90))
    ours = BatchedDataPreprocessor(crop_padding=4, flip_prob=0.5, mean=MEAN, std=STD)(batch)
    theirs = ClsDataPreprocessor(mean=MEAN, std=STD)(per_sample(batch))
    assert torch.equal(ours['inputs'], theirs['inputs'])
    assert ours['inputs'].dtype == torch.float32
    labels = [sample.gt_label for sample in ours['data_samples']]
    assert [label.shape for label in labels] == [(1,)] * 90
    assert torch.cat(labels).tolist() == [i % 5 for i in range(90)]


@pytest.mark.parametrize(
    'options',
    [
        {},
        dict(mean=MEAN, std=STD, to_rgb=True),
        dict(pad_size_divisor=20, pad_value=7),
        dict(mean=MEAN, std=STD, pad_size_divisor=16),
        dict(to_onehot=True, num_classes=5),
    ],
)
@pytest.mark.parametrize('training', [False, True])
def test_mmpretrains_own_options_do_what_they_do_there(images, options, training):
    batch = images.__getitems__([5, 1, 3])
    ours = BatchedDataPreprocessor(**options)(batch, training)
    theirs = ClsDataPreprocessor(**options)(per_sample(batch), training)
    assert torch.equal(ours['inputs'], theirs['inputs'])
    for sample, expected in zip(ours['data_samples'], theirs['data_samples'], strict=True):
        assert sample.keys() == expected.keys()
        for key, value in expected.items():
            assert torch.equal(sample.get(key), value)


@pytest.mark.parametrize('dtype', [torch.uint8, torch.float32])
def test_the_batch_itself_is_left_as_it_was(hub, images, dtype):
    batch = images.__getitems__(range(9))
    batch['inputs'] = batch['inputs'].to(dtype)
    before = batch['inputs'].clone()
    for training in (False, True):
        BatchedDataPreprocessor(crop_padding=4, flip_prob=0.5, mean=MEAN, std=STD)(batch, training)
        assert torch.equal(batch['inputs'], before)


def test_mixed_batches_have_the_scores_that_mmpretrain_gives_them(images):
    batch = images.__getitems__(range(90))
    options = dict(mean=MEAN, std=STD, num_classes=5, batch_augments=CUT_AND_MIX)
    mixed = 0
    for seed in range(6):
        results = []
        for kind, data in (
            (BatchedDataPreprocessor, batch),
            (ClsDataPreprocessor, per_sample(batch)),
        ):
            np.random.seed(seed), torch.manual_seed(seed)
            results.append(kind(**options)(data, training=True))
        ours, theirs = results
        scores = torch.stack([sample.gt_score for sample in ours['data_samples']])
        assert scores.shape == (90, 5)
        assert torch.allclose(scores.sum(1), torch.ones(90))
        assert torch.equal(
            scores, torch.stack([sample.gt_score for sample in theirs['data_samples']])
        )
        assert torch.equal(ours['inputs'], theirs['inputs'])
        mixed += int((scores.max(1).values < 0.99).any())
    assert mixed > 0


def test_evaluation_does_not_mix(images):
    batch = images.__getitems__(range(90))
    preprocessor = BatchedDataPreprocessor(num_classes=5, batch_augments=CUT_AND_MIX)
    result = preprocessor(batch, training=False)
    assert torch.equal(result['inputs'], batch['inputs'].float())
    scores = torch.stack([sample.gt_score for sample in result['data_samples']])
    assert torch.equal(scores, torch.eye(5)[batch['gt_label']])


def test_a_batch_of_mmpretrains_pipeline_goes_through_mmpretrains_code(images):
    batch = images.__getitems__(range(9))
    ours = BatchedDataPreprocessor(crop_padding=4, flip_prob=1.0, mean=MEAN, std=STD)(
        per_sample(batch), training=True
    )
    theirs = ClsDataPreprocessor(mean=MEAN, std=STD)(per_sample(batch), training=True)
    assert torch.equal(ours['inputs'], theirs['inputs'])
    assert [sample.gt_label.item() for sample in ours['data_samples']] == [
        0,
        1,
        2,
        3,
        4,
        0,
        1,
        2,
        3,
    ]


def test_unlabelled_images_are_normalised_for_prediction():
    inputs = torch.full((2, 3, 4, 4), 12, dtype=torch.uint8)
    result = BatchedDataPreprocessor(mean=[2] * 3, std=[5] * 3)(dict(inputs=inputs))
    assert result['inputs'].unique().tolist() == [2.0]


def test_a_classifier_computes_the_same_loss_from_both_kinds_of_batches(images):
    batch = images.__getitems__(range(9))
    losses = []
    for kind, data in (
        ('mmmuse.BatchedDataPreprocessor', batch),
        ('ClsDataPreprocessor', per_sample(batch)),
    ):
        torch.manual_seed(0)
        preprocessor = dict(type=kind, num_classes=5, mean=MEAN, std=STD)
        model = MODELS.build({**small_classifier_config(), 'data_preprocessor': preprocessor})
        data = model.data_preprocessor(data, training=True)
        losses.append(model(**data, mode='loss')['loss'])
    assert losses[0] == losses[1]


def test_both_cifar_configs_describe_the_same_data():
    batched = Config.fromfile(DATASETS / 'cifar100.py')
    plain = Config.fromfile(DATASETS / 'cifar100_per_sample.py')
    for key in ('num_classes', 'mean', 'std'):
        assert batched.data_preprocessor[key] == plain.data_preprocessor[key]
    crop, flip = plain.train_dataloader.dataset.pipeline[:2]
    assert crop == dict(
        type='RandomCrop', crop_size=32, padding=batched.data_preprocessor.crop_padding
    )
    assert flip == dict(
        type='RandomFlip', prob=batched.data_preprocessor.flip_prob, direction='horizontal'
    )
    for split in ('train', 'val'):
        ours, theirs = batched[f'{split}_dataloader'], plain[f'{split}_dataloader']
        assert ours.batch_size == theirs.batch_size
        assert ours.sampler == theirs.sampler
        assert ours.dataset.data_root == theirs.dataset.data_root


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(crop_padding=-1), 'crop_padding is an integer of at least 0, got -1'),
        (dict(flip_prob=1.5), 'flip_prob is a number from 0 to 1, got 1.5'),
        (dict(flip_prob=-0.1), 'flip_prob is a number from 0 to 1, got -0.1'),
        (dict(mean=[1.0], std=[0.0]), 'std is None or a list of numbers above 0'),
        (dict(mean=[float('nan')], std=[1.0]), 'mean is None or a list of numbers'),
        (dict(mean=[1.0, 2.0], std=[1.0]), r'one number for each channel .* got mean=\[1.0, 2.0\]'),
        (dict(mean=[1.0]), 'one number for each channel'),
        (dict(num_classes=0), 'num_classes is None or an integer of at least 1, got 0'),
        (dict(to_onehot=True), 'needs num_classes'),
        (dict(batch_augments=CUT_AND_MIX), 'needs num_classes'),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        BatchedDataPreprocessor(**options)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(mean=[1.0, 2.0], std=[1.0, 1.0]), 'images have 3 channels, and .*mean has 2'),
        (dict(to_onehot=True, num_classes=3), 'num_classes is 3, and a label of the data is 4'),
    ],
)
def test_a_batch_that_does_not_fit_is_named(options, message):
    batch = dict(
        inputs=torch.zeros(2, 3, 4, 4, dtype=torch.uint8),
        gt_label=torch.tensor([1, 4]),
        sample_idx=torch.tensor([0, 1]),
        num_samples=2,
    )
    with pytest.raises(InputError, match=message):
        BatchedDataPreprocessor(**options)(batch, training=True)
