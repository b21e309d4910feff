import pytest
import torch

from mmmuse.errors import InputError
from mmmuse.export.int8_accuracy import check_int8_accuracy, share_of_same_classes


def test_int8_is_accepted_by_its_accuracy():
    assert check_int8_accuracy(90.5, 91.25, limit=1) == (
        'top-1 90.50 %, 0.75 points less than 91.25 % in float32 (accepted: up to 1 points)'
    )


def test_int8_that_loses_more_is_refused_and_says_what_to_do():
    with pytest.raises(InputError, match=r'30\.00 points less .*, more than 5 .*--max-int8-loss'):
        check_int8_accuracy(60, 90, limit=5)


def test_the_share_of_images_of_the_same_class():
    logits = torch.tensor([[1.0, 0], [0, 1], [1, 0], [1, 0]])
    batches = [logits[:1], logits[1:]]
    swapped = lambda batch: batch['inputs'].flip(1)  # noqa: E731
    assert share_of_same_classes(lambda batch: batch['inputs'], swapped, batches) == 0
    first = lambda batch: torch.tensor([[1.0, 0]]).expand_as(batch['inputs'])  # noqa: E731
    assert share_of_same_classes(lambda batch: batch['inputs'], first, batches) == 0.75
