import copy

import pytest
import torch
from torch._dynamo.utils import counters

from ..conftest import labelled, small_distiller

pytestmark = pytest.mark.slow

# Compiling is what takes the time, so a student of two stages. The critics' 64 locations are the
# full 8x8 map: nothing is drawn.
STUDENT = dict(
    type='mmpretrain.ImageClassifier',
    _scope_='mmpretrain',
    backbone=dict(
        type='ResNet_CIFAR',
        depth=18,
        num_stages=2,
        strides=(1, 2),
        dilations=(1, 1),
        out_indices=(1,),
        stem_channels=4,
        base_channels=4,
    ),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=5, in_channels=8),
)
STUDENT_TAPS = dict(modules=['backbone.layer1'], last='backbone.layer2', logits='head')


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize('part', ['student', 'student.backbone'])
def test_a_compiled_student_gives_the_losses_of_eager(part):
    eager = small_distiller(student=STUDENT, taps=STUDENT_TAPS)
    compiled = copy.deepcopy(eager)
    compiled.get_submodule(part).compile(backend='aot_eager')
    for _ in range(2):
        x, samples = torch.randn(4, 3, 8, 8), labelled([0, 1, 2, 3])
        expected = eager(x, samples, mode='loss')
        losses = compiled(x, samples, mode='loss')
        assert set(losses) == set(expected)
        for name, value in expected.items():
            torch.testing.assert_close(losses[name], value, rtol=1e-5, atol=1e-6, msg=name)
    assert counters['stats']['unique_graphs'] > 0
    compiled.parse_losses(losses)[0].backward()
    eager.parse_losses(expected)[0].backward()
    for (name, parameter), other in zip(eager.named_parameters(), compiled.parameters()):
        torch.testing.assert_close(other.grad, parameter.grad, rtol=1e-4, atol=1e-6, msg=name)
