_base_ = '../muse/resnet18_cifar100_mi_x_si.py'

# DDGSD: two augmentations of each image.
data_preprocessor = dict(num_views=2)
model = dict(type='mmmuse.DDGSDDistiller', head=None, neck=None)
