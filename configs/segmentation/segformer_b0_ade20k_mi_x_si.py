# mmseg's SegFormer with an exit behind the third stage of its transformer: a second head, on the maps of three stages and a
# bottleneck. Taps of tokens are the norms at the ends of the stages.
_base_ = [
    'mmseg::segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py',
    '../_base_/distill/mmseg_exits.py',
]

model = dict(
    _delete_=True,
    type='mmmuse.SegmentationSelfDistiller',
    student=_base_.model,
    taps=dict(
        modules=['backbone.layers.1.2', 'backbone.layers.2.2'],
        last='backbone.layers.3.2',
        logits='decode_head.conv_seg',
    ),
    exit_modules=[2],
    head='mi_x_si_alone',
)

default_hooks = _base_.exit_hooks
val_evaluator = [_base_.val_evaluator, _base_.exit_evaluator]
test_evaluator = val_evaluator
