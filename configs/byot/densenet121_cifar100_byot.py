_base_ = ['../muse/densenet121_cifar100_mi_x_si.py', '../_base_/distill/byot.py']

model = _base_.byot
