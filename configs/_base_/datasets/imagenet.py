# mmpretrain's ImageNet at 224, in batches of 256.
_base_ = 'mmpretrain::_base_/datasets/imagenet_bs32.py'

train_dataloader = dict(batch_size=256, num_workers=8)
val_dataloader = dict(batch_size=256, num_workers=8)
test_dataloader = dict(batch_size=256, num_workers=8)
val_evaluator = [
    dict(type='Accuracy', topk=(1, 5)),
    dict(type='mmmuse.ExitAccuracy', topk=(1, 5)),
]
test_evaluator = val_evaluator
