# The same network on 50 images of each of the 100 classes, tested on all 10,000 test images: 100 epochs (78 steps of 64 each),
# after which it fits its training set. After 60 epochs in batches of 128 its training accuracy is 59 %.
_base_ = 'fitted-resnet18_cifar100-20x500.py'

model = dict(head=dict(num_classes=100))
data_preprocessor = dict(num_classes=100)
train_dataloader = dict(dataset=dict(num_classes=100, images_per_class=50))
val_dataloader = dict(dataset=dict(num_classes=100))
test_dataloader = val_dataloader
param_scheduler = dict(milestones=[38, 65, 90])
train_cfg = dict(max_epochs=100)
default_hooks = dict(
    checkpoint=dict(interval=100), logger=dict(interval=78), information=dict(interval=78)
)
