"""Small trainings of every kind, for runs that are killed and resumed."""

import os
import random
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
import yapf.yapflib.yapf_api
from mmengine.config import Config
from mmpretrain.structures import DataSample

from mmmuse.command_line.checkpoint import check_before_loading
from mmmuse.command_line.config import load_config
from mmmuse.command_line.run import run, train
from mmmuse.datasets import BatchedDigits
from mmmuse.registry import DATASETS, MODELS

from ..conftest import TAPS, small_classifier_config
from ..test_distillers.transfer import TAPS as SMALL_TAPS
from ..test_distillers.transfer import network

EPOCHS = 3
# The images have 256 locations in the first module.
PREPROCESSOR = dict(
    type='mmmuse.BatchedDataPreprocessor',
    num_classes=10,
    mean=[73.0],
    std=[90.0],
    crop_padding=1,
    resize=16,
)
MUSE = dict(
    type='mmmuse.MUSELoss',
    loss_weight=0.5,
    critic=dict(hidden_channels=8, num_locations=64),
)
CRD = dict(type='mmmuse.CRDLoss', embed_channels=8, num_negatives=6)


@DATASETS.register_module()
class DrawnDigits(BatchedDigits):
    """Digits one by one, with noise that is drawn by every generator where they are read."""

    def __getitem__(self, index: int) -> dict:
        """Return an image."""
        noise = 9 * (np.random.rand() + random.random() + torch.rand(()).item())
        image = torch.from_numpy(self.images[index]).float() + noise
        sample = DataSample().set_gt_label(int(self.labels[index]))
        sample.set_metainfo(dict(sample_idx=index))
        return dict(
            inputs=image.repeat_interleave(2, 1).repeat_interleave(2, 2), data_samples=sample
        )

    __getitems__ = None


def classifier() -> dict:
    return small_classifier_config(10, in_channels=1)


def self_distiller(student: dict | None = None) -> dict:
    return dict(
        type='mmmuse.SelfDistiller',
        student=student or classifier(),
        taps=TAPS,
        head=dict(type='mmmuse.MUSEHead', discrepancy=deepcopy(MUSE)),
        neck=dict(type='mmmuse.SelfDistillNeck'),
        data_preprocessor=deepcopy(PREPROCESSOR),
        input_shape=(1, 16, 16),
    )


def offline_distiller(folder: Path) -> dict:
    """One with a teacher's file, which is the same whenever a run starts."""
    teacher = network(6, 10, in_channels=1)
    path = folder / 'teacher.pth'
    if not path.exists():
        torch.manual_seed(5)
        torch.save(dict(state_dict=MODELS.build(deepcopy(teacher)).state_dict()), path)
    return dict(
        type='mmmuse.OfflineDistiller',
        student=network(4, 10, in_channels=1),
        teacher=teacher,
        teacher_checkpoint=str(path),
        taps=SMALL_TAPS,
        losses=[dict(type='mmmuse.KDLoss', temperature=4), CRD, deepcopy(MUSE)],
        data_preprocessor=deepcopy(PREPROCESSOR),
        input_shape=(1, 16, 16),
    )


def online_distiller() -> dict:
    return dict(
        type='mmmuse.OnlineDistiller',
        peers={
            name: dict(
                model=network(width, 10, in_channels=1), taps=SMALL_TAPS, input_shape=(1, 16, 16)
            )
            for name, width in (('a', 4), ('b', 6))
        },
        losses=[dict(type='mmmuse.KDLoss', temperature=4), CRD, deepcopy(MUSE)],
        data_preprocessor=deepcopy(PREPROCESSOR),
    )


def loader(split: str, images: int, workers: int = 0, per_sample: bool = False) -> dict:
    return dict(
        batch_size=8,
        num_workers=workers,
        persistent_workers=workers > 0,
        collate_fn=dict(type='default_collate' if per_sample else 'mmmuse.keep_batch'),
        sampler=dict(type='DefaultSampler', shuffle=split == 'train'),
        dataset=dict(
            type='mmmuse.DrawnDigits' if per_sample else 'mmmuse.BatchedDigits',
            split=split,
            indices=images,
        ),
        drop_last=split == 'train',
    )


def classification(model: dict, **changes) -> Config:
    """A run of three epochs of three steps, of which the best and the last are kept."""
    config = dict(
        default_scope='mmpretrain',
        model=model,
        train_dataloader=loader('train', 24),
        val_dataloader=loader('test', 40),
        val_evaluator=[dict(type='Accuracy', topk=1)],
        val_cfg=dict(),
        train_cfg=dict(by_epoch=True, max_epochs=EPOCHS, val_interval=1),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9)),
        param_scheduler=dict(type='MultiStepLR', milestones=[2], gamma=0.5),
        default_hooks=dict(
            checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=1, save_best='auto'),
            # An interval does not end where an epoch does.
            information=dict(type='mmmuse.InformationLoggerHook', interval=4),
        ),
        randomness=dict(seed=0),
        log_level='ERROR',
        launcher='none',
    )
    return Config({**config, **changes}, filename=__file__)


def detector(folder: Path) -> Config:
    # Imported here: it needs mmdet.
    from ..test_tools.test_detectors import write_configs, write_data

    if not (folder / 'distilled.py').exists():
        write_configs(folder, write_data(folder / 'data'))
    config = load_config(str(folder / 'distilled.py'), {})
    config.train_cfg.max_epochs = EPOCHS
    config.default_hooks.checkpoint.update(max_keep_ckpts=1)
    config.launcher = 'none'
    config.log_level = 'ERROR'
    config.model.head.discrepancy.critic.num_locations = 16
    return config


def by_iterations(folder: Path) -> Config:
    endless = loader('train', 20)
    endless['sampler']['type'] = 'InfiniteSampler'
    hook = dict(
        type='CheckpointHook', interval=2, by_epoch=False, max_keep_ckpts=2, save_best='auto'
    )
    return classification(
        self_distiller(),
        train_dataloader=endless,
        train_cfg=dict(by_epoch=False, max_iters=8, val_interval=2),
        param_scheduler=dict(type='MultiStepLR', milestones=[4], by_epoch=False),
        default_hooks=dict(checkpoint=hook),
    )


def plain_with_mixup(folder: Path) -> Config:
    model = classifier()
    model['head'] = dict(
        type='StackedLinearClsHead',
        num_classes=10,
        in_channels=64,
        mid_channels=[32],
        dropout_rate=0.3,
    )
    model['train_cfg'] = dict(
        augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]
    )
    model['data_preprocessor'] = deepcopy(PREPROCESSOR)
    return classification(model)


EMA = [dict(type='EMAHook', momentum=0.1)]
# Of three steps in an epoch, one leaves its gradient for the next epoch.
ACCUMULATED = dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9), accumulative_counts=2)
BFLOAT16 = dict(
    type='mmmuse.BFloat16OptimWrapper', optimizer=dict(type='AdamW', lr=0.01, weight_decay=0.05)
)
# By name: a function of a folder for files that several runs read.
RUNS = {
    'self': lambda folder: classification(self_distiller()),
    'offline': lambda folder: classification(offline_distiller(folder)),
    'online': lambda folder: classification(online_distiller()),
    'accumulated': lambda folder: classification(self_distiller(), optim_wrapper=ACCUMULATED),
    'ema': lambda folder: classification(self_distiller(), custom_hooks=EMA),
    'bfloat16': lambda folder: classification(self_distiller(), optim_wrapper=BFLOAT16),
    'workers': lambda folder: classification(
        self_distiller(), train_dataloader=loader('train', 24, workers=2, per_sample=True)
    ),
    'mixup': plain_with_mixup,
    'iterations': by_iterations,
    'detector': detector,
    'processes': lambda folder: classification(
        self_distiller(),
        launcher='pytorch',
        optim_wrapper=ACCUMULATED,
        model_wrapper_cfg=dict(
            type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False
        ),
    ),
}


def start(kind: str, folder: Path, work_dir: Path, **changes) -> None:
    """Train a run in this process, from its last checkpoint if it has one."""
    # As mmengine writes it; yapf's layout takes longer than the training.
    yapf.yapflib.yapf_api.FormatCode = lambda text, **_: (text, True)
    torch.set_num_threads(1)
    config = RUNS[kind](folder)
    config.work_dir = str(work_dir)
    config.resume = True
    config.merge_from_dict(changes)
    os.environ.setdefault('LOCAL_RANK', '0')
    resume_from = check_before_loading(config, trust=False)
    run(config, train, resume_from)
