_base_ = ['../muse/resnet18_tinyimagenet_mi_x_si.py', '../_base_/distill/byot.py']

model = _base_.byot
