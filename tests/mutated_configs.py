"""Small configs of every kind of distillation, with as many keys as there are; see ``mutations``."""

from typing import Any

from mmmuse.backbones.resnet_cifar import BasicBlock, ResNet_CIFAR

ResNet_CIFAR.arch_settings[10] = (BasicBlock, (1, 1, 1, 1))  # Most runs only build their networks.
NETWORK = dict(
    type='ImageClassifier',
    backbone=dict(type='ResNet_CIFAR', depth=10, in_channels=1, stem_channels=2, base_channels=2),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead',
        num_classes=10,
        in_channels=16,
        loss=dict(type='CrossEntropyLoss', loss_weight=1.0),
    ),
)
_CLASSIFIER = dict(
    default_scope='mmpretrain',
    data_preprocessor=dict(
        type='mmmuse.BatchedDataPreprocessor',
        num_classes=10,
        mean=[73.0],
        std=[90.0],
        crop_padding=1,
        flip_prob=0.5,
        num_views=1,
        fixed_views=None,
        seed=0,
    ),
    train_dataloader=dict(
        batch_size=4,
        num_workers=0,
        drop_last=True,
        collate_fn=dict(type='mmmuse.keep_batch'),
        sampler=dict(type='DefaultSampler', shuffle=True),
        dataset=dict(type='mmmuse.BatchedDigits', split='train', indices=8),
    ),
    val_dataloader=dict(
        batch_size=4,
        num_workers=0,
        collate_fn=dict(type='mmmuse.keep_batch'),
        sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dict(type='mmmuse.BatchedDigits', split='test', indices=4),
    ),
    val_evaluator=[dict(type='Accuracy', topk=1), dict(type='mmmuse.ExitAccuracy', topk=[1, 2])],
    optim_wrapper=dict(
        type='OptimWrapper',
        optimizer=dict(type='SGD', lr=0.05, momentum=0.9, weight_decay=0.0005),
        clip_grad=dict(max_norm=5.0),
        accumulative_counts=1,
        paramwise_cfg=dict(custom_keys=dict(critics=dict(lr_mult=5.0))),
    ),
    param_scheduler=[
        dict(type='LinearLR', start_factor=0.1, by_epoch=True, end=1),
        dict(
            type='CosineAnnealingLR',
            by_epoch=True,
            T_max=3,
            begin=1,
            end=4,
            convert_to_iter_based=True,
        ),
    ],
    train_cfg=dict(by_epoch=True, max_epochs=1, val_interval=1),
    val_cfg=dict(),
    default_hooks=dict(
        timer=dict(type='IterTimerHook'),
        logger=dict(type='LoggerHook', interval=100),
        param_scheduler=dict(type='ParamSchedulerHook'),
        checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=2, save_best='auto'),
        sampler_seed=dict(type='DistSamplerSeedHook'),
        information=dict(type='mmmuse.InformationLoggerHook', interval=2),
    ),
    log_level='ERROR',
    load_from=None,
    resume=False,
    randomness=dict(seed=0),
)
_PEER_METRIC = [dict(type='mmmuse.PeerMetric', metric=dict(type='Accuracy', topk=[1, 2]))]
_SELF = dict(
    type='mmmuse.SelfDistiller',
    student=NETWORK,
    taps=dict(
        modules=['backbone.layer2', 'backbone.layer3'], last='backbone.layer4', logits='head'
    ),
    input_shape=[1, 8, 8],
    neck=dict(type='mmmuse.SelfDistillNeck', reduction=4, strides=[2, 1], num_prefix_tokens=[0, 0]),
    head=dict(
        type='mmmuse.MUSEHead',
        num_classes=10,
        ce_weight=0.9,
        kd_weight=0.1,
        exit=dict(type='mmpretrain.LinearClsHead'),
        kd=dict(type='mmmuse.KDLoss', temperature=3.0),
        discrepancy=[
            dict(
                type='mmmuse.MUSELoss',
                combine='multiplicative',
                loss_weight=0.03,
                critic_weight=1.0,
                warmup=0.1,
                modules=[1, 2],
                critic=dict(
                    architecture='concat', hidden_channels=4, negatives='roll', num_locations=4
                ),
                estimator=dict(type='mmmuse.DonskerVaradhan', momentum=0.01),
            ),
            dict(type='mmmuse.HintLoss', loss_weight=1e-06),
            dict(type='mmmuse.VIDLoss', loss_weight=1.0, hidden_channels=4, init_variance=5.0),
        ],
    ),
)
_ONLINE = dict(
    type='mmmuse.OnlineDistiller',
    peers=dict(
        a=dict(
            model=NETWORK,
            taps=dict(modules=['backbone.layer3'], last='backbone.layer4', logits='head'),
            input_size=8,
            channel_order='same',
            input_shape=[1, 8, 8],
        ),
        b=dict(
            model=NETWORK,
            taps=dict(modules=['backbone.layer3'], last='backbone.layer4', logits='head'),
        ),
    ),
    own_weight=0.5,
    own_views=False,
    detach_features=False,
    losses=[
        dict(type='mmmuse.KDCLLoss', temperature=4.0, loss_weight=0.5),
        dict(type='mmmuse.AFDLoss', loss_weight=0.1, hidden_channels=4, reversal_scale=1.0),
        dict(type='mmmuse.MUSELoss', critic=dict(architecture='dot', hidden_channels=4)),
    ],
)


def _offline(folder: str) -> dict[str, Any]:
    return dict(
        type='mmmuse.OfflineDistiller',
        student=NETWORK,
        teacher=NETWORK,
        teacher_checkpoint=f'{folder}/teacher.pth',
        teacher_channel_order='same',
        trust_teacher=False,
        taps=dict(
            modules=['backbone.layer2', 'backbone.layer3'], last='backbone.layer4', logits='head'
        ),
        teacher_taps=dict(
            modules=['backbone.layer2', 'backbone.layer3'], last='backbone.layer4', logits='head'
        ),
        teacher_input_size=8,
        losses=[
            dict(type='mmmuse.KDLoss', temperature=4.0, loss_weight=0.9),
            dict(type='mmmuse.DKDLoss', target_weight=1.0, other_weight=2.0, warmup=0.5),
            dict(
                type='mmmuse.CRDLoss',
                embed_channels=4,
                num_negatives=4,
                temperature=0.07,
                momentum=0.5,
            ),
            dict(type='mmmuse.AttentionTransferLoss', loss_weight=1000.0),
            dict(type='mmmuse.ReviewKDLoss', mid_channels=4, loss_weight=0.6, modules=[2, 3]),
        ],
    )


def _boxes(folder: str, test_mode: bool) -> dict[str, Any]:
    return dict(
        batch_size=2,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=not test_mode),
        dataset=dict(
            type='mmmuse.CheckedCocoDataset',
            ann_file=f'{folder}/boxes.json',
            data_prefix=dict(img=f'{folder}/'),
            metainfo=dict(classes=['cell']),
            test_mode=test_mode,
            pipeline=[
                dict(type='mmmuse.LoadCheckedImage', unreadable='refuse'),
                dict(type='LoadAnnotations', with_bbox=True),
                dict(type='Resize', scale=(64, 64), keep_ratio=True),
                dict(type='PackDetInputs'),
            ],
        ),
    )


def _detection(folder: str) -> dict[str, Any]:
    metric = dict(type='mmmuse.ZeroCocoMetric', ann_file=f'{folder}/boxes.json', metric='bbox')
    return dict(
        default_scope='mmdet',
        model=dict(
            type='mmmuse.DetectionSelfDistiller',
            student=dict(
                type='SingleStageDetector',
                data_preprocessor=dict(
                    type='DetDataPreprocessor',
                    mean=[0.0, 0.0, 0.0],
                    std=[255.0, 255.0, 255.0],
                    bgr_to_rgb=True,
                    pad_size_divisor=32,
                    pad_value=0.4,
                ),
                backbone=dict(
                    type='CSPDarknet',
                    deepen_factor=0.33,
                    widen_factor=0.0625,
                    norm_cfg=dict(type='BN', momentum=0.03, eps=0.001),
                    act_cfg=dict(type='Swish'),
                ),
                neck=dict(type='mmmuse.YOLOv5PAFPN', in_channels=[16, 32, 64], num_csp_blocks=1),
                bbox_head=dict(
                    type='mmmuse.YOLOv5Head',
                    num_classes=1,
                    in_channels=[16, 32, 64],
                    bbox_weight=0.05,
                    level_weights=[4.0, 1.0, 0.4],
                    match_ratio=4.0,
                    scale_by_batch=True,
                    prior_generator=dict(
                        type='mmdet.YOLOAnchorGenerator',
                        base_sizes=[
                            [[10, 13], [16, 30]],
                            [[30, 61], [62, 45]],
                            [[116, 90], [156, 198]],
                        ],
                        strides=[8, 16, 32],
                    ),
                ),
                train_cfg=None,
                test_cfg=dict(
                    score_thr=0.1,
                    nms_pre=100,
                    nms=dict(type='nms', iou_threshold=0.65),
                    max_per_img=10,
                ),
            ),
            taps=dict(modules=['backbone.stage3'], last='backbone.stage4'),
            exit=dict(type='mmmuse.DetectionExit', bottleneck=dict(reduction=4), loss_weight=1.0),
            exit_modules=[1],
            head=dict(
                type='mmmuse.MUSEHead',
                ce_weight=0,
                kd_weight=0,
                discrepancy=dict(
                    type='mmmuse.MUSELoss', critic=dict(hidden_channels=4, num_locations=4)
                ),
            ),
        ),
        train_dataloader=_boxes(folder, test_mode=False),
        optim_wrapper=dict(
            type='OptimWrapper',
            constructor='mmmuse.ThreeGroupsConstructor',
            optimizer=dict(
                type='SGD', lr=0.001, momentum=0.937, nesterov=True, weight_decay=0.0005
            ),
        ),
        param_scheduler=[
            dict(type='mmmuse.BiasWarmupLR', bias_lr=0.01, end=1, convert_to_iter_based=True),
            dict(type='CosineAnnealingLR', eta_min_ratio=0.2, begin=1, T_max=2, end=3),
        ],
        train_cfg=dict(by_epoch=True, max_epochs=1, val_interval=1),
        val_cfg=dict(),
        val_dataloader=_boxes(folder, test_mode=True),
        val_evaluator=[metric, dict(type='mmmuse.ExitDetectionMetric', metric=metric)],
        default_hooks=dict(
            checkpoint=dict(type='CheckpointHook', interval=1),
            logger=dict(type='LoggerHook', interval=50),
        ),
        custom_hooks=[
            dict(
                type='EMAHook',
                ema_type='ExpMomentumEMA',
                momentum=0.0001,
                update_buffers=True,
                priority=49,
            )
        ],
        log_level='ERROR',
        randomness=dict(seed=0),
    )


def small_configs(folder: str) -> dict[str, dict[str, Any]]:
    """Return a config of self-, offline and online distillation and of a detector.

    Args:
        folder: Where ``teacher.pth``, the weights of :data:`NETWORK`, and ``boxes.json`` are.
    """
    return {
        'self': dict(_CLASSIFIER, model=_SELF),
        'offline': dict(_CLASSIFIER, model=_offline(folder)),
        'online': dict(_CLASSIFIER, model=_ONLINE, val_evaluator=_PEER_METRIC),
        'detection': _detection(folder),
    }
