import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.runner import Runner
from mmpretrain import ImageClassificationInferencer, get_model

from mmmuse.checkpoints.plain_data import per_sample
from mmmuse.checkpoints.runner_keys import runner_keys
from mmmuse.export.data import image_shape, normalized_batches
from mmmuse.export.exit_network import exit_network, exit_network_config
from mmmuse.export.standalone import write_standalone

from ..test_export.conftest import CONFIGS, settled


def baseline(name: str) -> Config:
    return Config.fromfile(CONFIGS / 'baselines' / f'{name}.py')


def test_batched_cifar_becomes_mmpretrains_own():
    plain = per_sample(baseline('resnet18_cifar100').to_dict())
    assert 'mmmuse.Batched' not in str(plain)
    assert 'mmmuse.keep_batch' not in str(plain)
    train, test = plain['train_dataloader']['dataset'], plain['test_dataloader']['dataset']
    assert (train['type'], test['type']) == ('CIFAR100', 'CIFAR100')
    assert [transform['type'] for transform in train['pipeline']] == [
        'RandomCrop',
        'RandomFlip',
        'PackInputs',
    ]
    assert train['pipeline'][0] == dict(type='RandomCrop', crop_size=32, padding=4)
    assert plain['data_preprocessor'].keys() == {'num_classes', 'mean', 'std'}


@pytest.mark.slow
def test_the_plain_test_images_are_the_batched_ones(cifar100_root):
    config = baseline('resnet18_cifar100')
    config.merge_from_dict(
        {
            'test_dataloader.dataset.data_root': cifar100_root,
            'test_dataloader.dataset.indices': 20,
        }
    )
    images, labels = next(normalized_batches(config, 'test', get_model(config)))
    plain = Config(per_sample(config.to_dict()))
    batch = next(iter(Runner.build_dataloader(plain.test_dataloader)))
    preprocessor = MODELS.build(
        dict(type='ClsDataPreprocessor', _scope_='mmpretrain', **plain.data_preprocessor)
    )
    data = preprocessor(batch)
    torch.testing.assert_close(data['inputs'], images)
    assert [sample.gt_label.item() for sample in data['data_samples']] == labels.tolist()


@pytest.mark.parametrize('name', ['efficientnet-b0_cifar100', 'efficientnet-b0_tinyimagenet'])
def test_resizing_moves_into_the_pipelines(name):
    plain = per_sample(baseline(name).to_dict())
    assert 'resize' not in plain['data_preprocessor']
    for split in ('train', 'val', 'test'):
        pipeline = plain[f'{split}_dataloader']['dataset']['pipeline']
        assert pipeline[-2:] == [dict(type='Resize', scale=224), dict(type='PackInputs')]


def test_a_set_that_has_no_per_sample_form_stays_what_it_is():
    config = Config.fromfile(CONFIGS / 'demo' / 'resnet18_digits.py').to_dict()
    assert per_sample(config) == config


@pytest.mark.parametrize(
    ('name', 'shape'),
    [
        ('resnet18_cifar100', (3, 32, 32)),
        ('efficientnet-b0_cifar100', (3, 224, 224)),
        ('resnet18_tinyimagenet', (3, 64, 64)),
        ('efficientnet-b0_tinyimagenet', (3, 224, 224)),
        ('resnet18_imagenet', (3, 224, 224)),
    ],
)
def test_the_shape_of_images_is_read_without_data(name, shape):
    assert image_shape(baseline(name)) == shape


@pytest.mark.slow
def test_mmpretrains_inferencer_serves_an_export(tmp_path):
    config = Config.fromfile(CONFIGS / 'muse' / 'resnet18_cifar100_mi_x_si.py')
    distiller = settled(config, (3, 32, 32))
    network = exit_network(config.model, distiller, 2)
    model = exit_network_config(config.model, distiller, 2)
    classes = [f'class {i}' for i in range(100)]
    write_standalone(
        *(tmp_path, config, model, network.state_dict(), runner_keys(config), 'exit 2'),
        dataset_meta=dict(classes=classes),
    )
    inferencer = ImageClassificationInferencer(
        str(tmp_path / 'config.py'), pretrained=str(tmp_path / 'checkpoint.pth'), device='cpu'
    )
    image = np.random.default_rng(0).integers(0, 256, (40, 36, 3), dtype=np.uint8)
    (result,) = inferencer(image)
    assert result['pred_class'] == f'class {result["pred_label"]}'
    assert result['pred_scores'].shape == (100,)
