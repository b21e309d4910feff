_base_ = ['resnet18_digits.py', '../_base_/distill/mi_x_si.py']

# Sized for a demo: narrow critics, which learn at five times the network's rate since the run is short.
head = _base_.head
head['discrepancy']['critic'].update(hidden_channels=128)

model = dict(
    _delete_=True,
    type='mmmuse.SelfDistiller',
    student=_base_.model,
    taps=dict(
        modules=['backbone.layer1', 'backbone.layer2', 'backbone.layer3'],
        last='backbone.layer4',
        logits='head',
    ),
    neck=_base_.neck,
    head=head,
)
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'critics': dict(lr_mult=5.0)}))
