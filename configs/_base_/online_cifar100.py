_base_ = [
    'datasets/cifar100_64.py',
    'schedules/cifar_240e.py',
    'default_runtime.py',
]

val_evaluator = [dict(type='mmmuse.PeerMetric', metric=dict(type='Accuracy', topk=(1, 5)))]
test_evaluator = val_evaluator
