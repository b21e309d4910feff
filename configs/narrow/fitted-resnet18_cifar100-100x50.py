# The same network on 50 images of each of the 100 classes, tested on all 10,000 test images (39 steps of 128 an epoch).
_base_ = 'fitted-resnet18_cifar100-20x500.py'

model = dict(head=dict(num_classes=100))
data_preprocessor = dict(num_classes=100)
train_dataloader = dict(dataset=dict(num_classes=100, images_per_class=50))
val_dataloader = dict(dataset=dict(num_classes=100))
test_dataloader = val_dataloader
default_hooks = dict(logger=dict(interval=39), information=dict(interval=39))
