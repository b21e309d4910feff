_base_ = './resnet20-resnet20_cifar100_kd.py'

# A ResNet-20 and a ResNet-56 learn together: cross-entropy, and KD from each other.
model = dict(peers=dict(b=dict(model='{{ fileDirname }}/../baselines/resnet56_cifar100.py')))
