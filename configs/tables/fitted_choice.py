# The rows of fitted_weights.py, evaluated on training images of the same classes that no row trains on: 100 of each. A weight that is chosen by
# these is not chosen by the test set.
_base_ = 'fitted_weights.py'

title = 'A network that fits its training set: to choose a weight'

options = {
    'val_dataloader.dataset.split': 'train',
    'val_dataloader.dataset.start': 25000,
    'val_dataloader.dataset.images_per_class': 100,
}
