_base_ = '../_base_/online_cifar100.py'

# A ShuffleNetV1 and a WRN-40-2 learn together: cross-entropy, and KD from each other.
model = dict(
    type='mmmuse.OnlineDistiller',
    peers=dict(
        a=dict(
            model='{{ fileDirname }}/../baselines/shufflenet-v1_cifar100.py',
            taps=dict(
                modules=['backbone.conv1', 'backbone.layers.0', 'backbone.layers.1'],
                last='backbone.layers.2',
                logits='head',
            ),
        ),
        b=dict(
            model='{{ fileDirname }}/../baselines/wrn-40-2_cifar100.py',
            taps=dict(
                modules=['backbone.conv1', 'backbone.layer1', 'backbone.layer2'],
                last='backbone.relu',
                logits='head',
            ),
        ),
    ),
    losses=[dict(type='mmmuse.KDLoss', temperature=4)],
)

# ShuffleNetV1's learning rate is a fifth of the other's: 0.01.
optim_wrapper = dict(
    paramwise_cfg=dict(
        custom_keys={'student.backbone': dict(lr_mult=0.2), 'student.head': dict(lr_mult=0.2)}
    )
)
