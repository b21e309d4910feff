_base_ = ['../muse/resnet34_tinyimagenet_mi_x_si.py', '../_base_/distill/byot.py']

model = _base_.byot
