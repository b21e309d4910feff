_base_ = './resnet20-resnet56_cifar100_kd.py'

# Two ResNet-56s learn together: cross-entropy, and KD from each other.
model = dict(peers=dict(a=dict(model='{{ fileDirname }}/../baselines/resnet56_cifar100.py')))
