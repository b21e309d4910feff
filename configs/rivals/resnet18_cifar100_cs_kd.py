_base_ = '../muse/resnet18_cifar100_mi_x_si.py'

# CS-KD: 128 pairs of one class, of which the first ones learn.
model = dict(type='mmmuse.CSKDDistiller', head=None, neck=None)
train_dataloader = dict(batch_size=256, sampler=dict(type='mmmuse.ClassPairSampler'))
auto_scale_lr = dict(base_batch_size=256)
