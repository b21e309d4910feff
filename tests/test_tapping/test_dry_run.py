import pytest
import torch
from torch import nn

from mmmuse.errors import InputError
from mmmuse.tapping.dry_run import blank_image_shapes, dry_run, frozen_in_eval


class Classifier(nn.Module):
    """Takes images of at least ``smallest`` pixels."""

    def __init__(self, smallest: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.smallest = smallest

    def forward(self, inputs, mode):
        assert inputs.shape[-1] >= self.smallest
        return self.conv(inputs)


def observed_shape(forward, shape):
    forward()
    return shape


def test_an_image_has_the_channels_of_the_first_convolution():
    assert dry_run(Classifier(), observed_shape, mode='tensor') == (1, 64, 64)


def test_a_size_that_the_model_refuses_is_passed_over():
    assert dry_run(Classifier(smallest=65), observed_shape, mode='tensor') == (1, 224, 224)


def test_a_given_shape_is_the_only_one_tried():
    assert dry_run(Classifier(), observed_shape, [1, 40, 48], mode='tensor') == (1, 40, 48)
    with pytest.raises(
        InputError,
        match=r'^Classifier does not run on an image of 1x64x64 \(AssertionError: .*\); '
        r'set input_shape to the \(C, H, W\) of its images$',
    ):
        dry_run(Classifier(smallest=65), observed_shape, [1, 64, 64], mode='tensor')


@pytest.mark.parametrize(('declared', 'expected'), [(48, (1, 48, 48)), ((32, 40), (1, 32, 40))])
def test_a_transformers_declared_size_is_taken(declared, expected):
    model = Classifier()
    model.img_size = declared
    assert blank_image_shapes(model)[0] == expected


def test_training_flags_come_back_module_by_module_even_after_an_exception():
    model = nn.Sequential(nn.BatchNorm2d(2), nn.BatchNorm2d(2)).train()
    model[1].eval()  # A frozen norm, as norm_eval gives it.

    def failing_forward():
        with frozen_in_eval(model):
            assert not model.training
            assert not model[0].training
            assert not torch.is_grad_enabled()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing_forward()
    assert model.training
    assert model[0].training
    assert not model[1].training
    assert torch.is_grad_enabled()
