"""Types and ranges of what MMEngine, PyTorch, mmpretrain and mmdet read from a config.

Their own annotations are missing or name no range. A part that is not in the table is not checked.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

from mmengine.runner import Priority
from torch import nn
from torch.utils.data import BatchSampler, Dataset, Sampler

from mmmuse.arguments import (
    Fraction,
    Length,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    PositiveInts,
    Range,
    Seed,
    WholeNumber,
)

Annotations = dict[str, Any]
IntervalOrNone = PositiveInt | Literal[-1]
_Config = dict | nn.Module
_Optional = dict | None
_Mean = Annotated[Sequence[float], Length(1)] | None
_Std = Annotated[Sequence[PositiveFloat], Length(1)] | None
_Pairs = Sequence[PositiveInts]

_LOSS = dict(loss_weight=NonNegativeFloat, reduction=Literal['none', 'mean', 'sum'])
_PREPROCESSOR = dict(
    mean=_Mean, std=_Std, pad_size_divisor=PositiveInt, pad_value=float, batch_augments=object
)
_CLASSIFIER_HEAD = dict(
    num_classes=PositiveInt,
    in_channels=PositiveInt,
    loss=_Config,
    topk=PositiveInt | PositiveInts,
    cal_acc=bool,
)
_RESNET = dict(
    depth=PositiveInt,
    in_channels=PositiveInt,
    stem_channels=PositiveInt,
    base_channels=PositiveInt,
    num_stages=Annotated[int, Range(least=1, most=4)],
    strides=PositiveInts,
    dilations=PositiveInts,
    out_indices=Sequence[NonNegativeInt],
    frozen_stages=Annotated[int, Range(least=-1, most=4)],
    deep_stem=bool,
    norm_eval=bool,
    with_cp=bool,
    zero_init_residual=bool,
    drop_path_rate=Fraction,
    norm_cfg=dict,
)
_CLASSIFIER = dict(
    backbone=_Config,
    neck=_Config | Sequence[dict] | None,
    head=_Config | None,
    train_cfg=_Optional,
)
_DETECTOR = dict(_CLASSIFIER, bbox_head=_Config, test_cfg=_Optional)
_NORM = dict(eps=NonNegativeFloat, momentum=Fraction | None, requires_grad=bool)
_OPTIMIZER = dict(
    lr=NonNegativeFloat,
    momentum=NonNegativeFloat,
    weight_decay=NonNegativeFloat,
    dampening=NonNegativeFloat,
    nesterov=bool,
    betas=Annotated[Sequence[Annotated[float, Range(least=0, most=1)]], Length(2, 2)],
    eps=NonNegativeFloat,
    amsgrad=bool,
)
_WRAPPER = dict(
    optimizer=dict,
    accumulative_counts=PositiveInt,
    clip_grad=Annotated[dict, Length(1)] | None,
    paramwise_cfg=_Optional,
    constructor=str | type,
)
_SCHEDULER = dict(
    begin=NonNegativeInt,
    end=PositiveInt,
    by_epoch=bool,
    convert_to_iter_based=bool,
    T_max=PositiveInt | None,
    eta_min=NonNegativeFloat | None,
    eta_min_ratio=Fraction | None,
    milestones=PositiveInts,
    step_size=PositiveInt,
    gamma=PositiveFloat,
    factor=Fraction,
    start_factor=Fraction,
    end_factor=Fraction,
    power=NonNegativeFloat,
    periods=PositiveInts,
    total_steps=PositiveInt | None,
)
_SCHEDULES = (
    'Constant',
    'CosineAnnealing',
    'CosineRestart',
    'Exponential',
    'Linear',
    'MultiStep',
    'OneCycle',
    'Poly',
    'Step',
)
_LOOP = dict(
    max_epochs=PositiveInt,
    max_iters=PositiveInt,
    val_begin=NonNegativeInt,
    val_interval=PositiveInt | WholeNumber,
    dynamic_intervals=_Pairs | None,
    by_epoch=bool,
    fp16=bool,
)
_HOOK = dict(
    priority=Annotated[int, Range(least=0, most=100)] | Literal[tuple(Priority.__members__)],
)
_SAMPLER = dict(shuffle=bool, seed=Seed | None, round_up=bool)
_DATASET = dict(
    pipeline=Sequence[dict | Callable],
    indices=int | Sequence[int] | None,
    lazy_init=bool,
    test_mode=bool,
    serialize_data=bool,
    max_refetch=PositiveInt,
    ann_file=str,
    data_root=str | None,
    data_prefix=dict | str,
    metainfo=_Optional,
    filter_cfg=_Optional,
)

# By the name of the class, without the scope of its library.
_CHECKPOINTS = dict(
    _HOOK,
    interval=IntervalOrNone,
    max_keep_ckpts=IntervalOrNone,
    save_begin=NonNegativeInt,
    save_best=str | Sequence[str] | None,
    rule=Literal['greater', 'less'] | Sequence[Literal['greater', 'less']] | None,
    by_epoch=bool,
    save_last=bool,
    save_optimizer=bool,
    save_param_scheduler=bool,
    out_dir=str | None,
)
BY_TYPE: Mapping[str, Annotations] = {
    **dict.fromkeys(('CrossEntropyLoss', 'FocalLoss', 'AsymmetricLoss', 'BCELoss'), _LOSS),
    'LabelSmoothLoss': dict(_LOSS, label_smooth_val=Fraction, num_classes=PositiveInt | None),
    **{name: dict(_LOSS, eps=PositiveFloat) for name in ('IoULoss', 'GIoULoss', 'CIoULoss')},
    'ClsDataPreprocessor': dict(_PREPROCESSOR, num_classes=PositiveInt | None, to_rgb=bool),
    'DetDataPreprocessor': dict(_PREPROCESSOR, bgr_to_rgb=bool, rgb_to_bgr=bool, pad_mask=bool),
    'ImageClassifier': _CLASSIFIER,
    'SingleStageDetector': _DETECTOR,
    'LinearClsHead': _CLASSIFIER_HEAD,
    'ClsHead': _CLASSIFIER_HEAD,
    'ResNet': _RESNET,
    'ResNet_CIFAR': _RESNET,
    'CSPDarknet': dict(
        deepen_factor=Annotated[float, Range(above=0, most=100)],
        widen_factor=Annotated[float, Range(above=0, most=1000)],
        out_indices=Sequence[NonNegativeInt],
        frozen_stages=Annotated[int, Range(least=-1, most=4)],
        use_depthwise=bool,
        norm_eval=bool,
        norm_cfg=dict,
        act_cfg=dict,
    ),
    'YOLOAnchorGenerator': dict(
        base_sizes=Sequence[Sequence[Annotated[Sequence[PositiveFloat], Length(2, 2)]]],
        strides=PositiveInts | _Pairs,
    ),
    **dict.fromkeys(('BN', 'BN1d', 'BN2d', 'SyncBN', 'GN', 'LN'), _NORM),
    **dict.fromkeys(('SGD', 'Adam', 'AdamW', 'RMSprop', 'NAdam', 'RAdam'), _OPTIMIZER),
    'OptimWrapper': _WRAPPER,
    'AmpOptimWrapper': _WRAPPER,
    'BFloat16OptimWrapper': _WRAPPER,
    **{
        f'{name}{suffix}': _SCHEDULER
        for name in _SCHEDULES
        for suffix in ('LR', 'Momentum', 'ParamScheduler')
    },
    'BiasWarmupLR': _SCHEDULER,
    'PerGroupOneCycleLR': _SCHEDULER,
    'EpochBasedTrainLoop': _LOOP,
    'IterBasedTrainLoop': _LOOP,
    'ValLoop': _LOOP,
    'TestLoop': _LOOP,
    'CheckpointHook': _CHECKPOINTS,
    'SafeCheckpointHook': _CHECKPOINTS,
    'LoggerHook': dict(_HOOK, interval=PositiveInt, ignore_last=bool, keep_local=bool),
    'EMAHook': dict(
        _HOOK,
        momentum=Fraction,
        begin_iter=NonNegativeInt,
        begin_epoch=NonNegativeInt,
        update_buffers=bool,
        strict_load=bool,
    ),
    **dict.fromkeys(
        ('IterTimerHook', 'ParamSchedulerHook', 'DistSamplerSeedHook', 'SyncBuffersHook'), _HOOK
    ),
    'DefaultSampler': _SAMPLER,
    'InfiniteSampler': _SAMPLER,
    'LoadAnnotations': dict(with_bbox=bool, with_label=bool, with_mask=bool, with_seg=bool),
    'Resize': dict(scale=int | Sequence[int] | None, keep_ratio=bool),
    'LogProcessor': dict(window_size=PositiveInt, by_epoch=bool),
    'Accuracy': dict(topk=PositiveInt | PositiveInts),
    'CocoMetric': dict(ann_file=str | None, metric=str | Sequence[str]),
    'ZeroCocoMetric': dict(ann_file=str | None, metric=str | Sequence[str]),
    'CocoDataset': _DATASET,
    'CheckedCocoDataset': _DATASET,
    'CIFAR10': _DATASET,
    'CIFAR100': _DATASET,
    'PerSampleCIFAR100': _DATASET,
}

_LOADER = dict(
    batch_size=PositiveInt,
    num_workers=Annotated[int, Range(least=0, most=1024)],
    dataset=dict | Dataset,
    sampler=dict | Sampler,
    batch_sampler=dict | BatchSampler | None,
    drop_last=bool,
    pin_memory=bool,
    persistent_workers=bool,
    prefetch_factor=PositiveInt | None,
    timeout=NonNegativeFloat,
    num_batch_per_epoch=PositiveInt | None,
    collate_fn=dict | str | Callable | None,
    worker_init_fn=dict | None,
)
_MULTIPLIERS = dict(
    lr_mult=NonNegativeFloat,
    decay_mult=NonNegativeFloat,
    bias_lr_mult=NonNegativeFloat,
    bias_decay_mult=NonNegativeFloat,
    norm_decay_mult=NonNegativeFloat,
    dwconv_decay_mult=NonNegativeFloat,
    dcn_offset_lr_mult=NonNegativeFloat,
    flat_decay_mult=NonNegativeFloat,
    bypass_duplicate=bool,
    custom_keys=Mapping[str, dict],
)
# Parts that have a place in a config and not a type; a star is any key.
BY_PATH: Mapping[str, Annotations] = {
    **{f'{name}_dataloader': _LOADER for name in ('train', 'val', 'test')},
    'optim_wrapper.clip_grad': dict(
        type=Literal['norm', 'value'],
        max_norm=PositiveFloat,
        norm_type=object,
        clip_value=PositiveFloat,
        error_if_nonfinite=bool,
        foreach=bool | None,
    ),
    'optim_wrapper.paramwise_cfg': _MULTIPLIERS,
    'optim_wrapper.paramwise_cfg.custom_keys.*': _MULTIPLIERS,
    'randomness': dict(seed=Seed | None, deterministic=bool, diff_rank_seed=bool),
    'auto_scale_lr': dict(base_batch_size=PositiveInt, enable=bool),
    'env_cfg': dict(cudnn_benchmark=bool, mp_cfg=dict, dist_cfg=dict, resource_limit=PositiveInt),
    'env_cfg.mp_cfg': dict(
        mp_start_method=Literal['fork', 'spawn', 'forkserver'], opencv_num_threads=NonNegativeInt
    ),
    'env_cfg.dist_cfg': dict(backend=str),
}
# Keys without which such a part cannot be built, and those of which no other is read.
REQUIRED: Mapping[str, set[str]] = {
    'randomness': {'seed'},
    **{f'{name}_dataloader': {'dataset', 'sampler'} for name in ('train', 'val')},
}
CLOSED = {
    'optim_wrapper.clip_grad',
    'optim_wrapper.paramwise_cfg',
    'randomness',
}
# The type of a part whose config names none.
DEFAULT_TYPES: Mapping[str, str] = {
    'train_cfg': 'EpochBasedTrainLoop',
    'val_cfg': 'ValLoop',
    'test_cfg': 'TestLoop',
    'optim_wrapper': 'OptimWrapper',
    'default_hooks.checkpoint': 'CheckpointHook',
    'default_hooks.logger': 'LoggerHook',
    'log_processor': 'LogProcessor',
}
