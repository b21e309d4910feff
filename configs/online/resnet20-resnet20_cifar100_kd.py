_base_ = '../_base_/online_cifar100.py'

# Two ResNet-20s learn together: cross-entropy, and KD from each other.
model = dict(
    type='mmmuse.OnlineDistiller',
    peers=dict(
        a=dict(
            model='{{ fileDirname }}/../baselines/resnet20_cifar100.py',
            taps=dict(
                modules=['backbone.relu', 'backbone.layer1', 'backbone.layer2'],
                last='backbone.layer3',
                logits='head',
            ),
        ),
        b=dict(
            model='{{ fileDirname }}/../baselines/resnet20_cifar100.py',
            taps=dict(
                modules=['backbone.relu', 'backbone.layer1', 'backbone.layer2'],
                last='backbone.layer3',
                logits='head',
            ),
        ),
    ),
    losses=[dict(type='mmmuse.KDLoss', temperature=4)],
)
