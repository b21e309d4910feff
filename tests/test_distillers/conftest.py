import pytest
import torch

from mmmuse.registry import MODELS

from .transfer import network


@pytest.fixture
def teacher_file(tmp_path) -> str:
    path = tmp_path / 'teacher.pth'
    torch.save(dict(state_dict=MODELS.build(network(6, in_channels=1)).state_dict()), path)
    return str(path)
