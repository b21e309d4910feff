_base_ = ['../muse/efficientnet-b0-32_cifar100_mi_x_si.py', '../_base_/distill/byot.py']

model = _base_.byot
