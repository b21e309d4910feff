# mmseg's PSPNet with an exit behind the third stage of its ResNet: a second PSP head on a bottleneck.
_base_ = [
    'mmseg::pspnet/pspnet_r50-d8_4xb2-40k_cityscapes-512x1024.py',
    '../_base_/distill/mmseg_exits.py',
]

model = dict(
    _delete_=True,
    type='mmmuse.SegmentationSelfDistiller',
    student=_base_.model,
    taps=dict(
        modules=['backbone.layer2', 'backbone.layer3'],
        last='backbone.layer4',
        logits='decode_head.conv_seg',
    ),
    exit_modules=[2],
    head='mi_x_si_alone',
)

default_hooks = _base_.exit_hooks
val_evaluator = [_base_.val_evaluator, _base_.exit_evaluator]
test_evaluator = val_evaluator
