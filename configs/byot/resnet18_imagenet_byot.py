_base_ = ['../muse/resnet18_imagenet_mi_x_si.py', '../_base_/distill/byot.py']

model = _base_.byot
