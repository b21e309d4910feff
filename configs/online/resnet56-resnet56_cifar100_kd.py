_base_ = [
    '../_base_/datasets/cifar100_64.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/default_runtime.py',
]

# Two ResNet-56s learn together: cross-entropy, and KD from each other.
model = dict(
    type='mmmuse.OnlineDistiller',
    peers=dict(
        a=dict(
            model='{{ fileDirname }}/../baselines/resnet56_cifar100.py',
            taps=dict(
                modules=['backbone.relu', 'backbone.layer1', 'backbone.layer2'],
                last='backbone.layer3',
                logits='head',
            ),
        ),
        b=dict(
            model='{{ fileDirname }}/../baselines/resnet56_cifar100.py',
            taps=dict(
                modules=['backbone.relu', 'backbone.layer1', 'backbone.layer2'],
                last='backbone.layer3',
                logits='head',
            ),
        ),
    ),
    losses=[dict(type='mmmuse.KDLoss', temperature=4)],
)

val_evaluator = [dict(type='mmmuse.PeerMetric', metric=dict(type='Accuracy', topk=(1, 5)))]
test_evaluator = val_evaluator
