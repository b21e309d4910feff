import copy

import pytest
import torch
from torch._dynamo.utils import counters

from ..conftest import TWO_STAGE_TAPS, labelled, small_distiller, two_stage_config

pytestmark = pytest.mark.slow

# Compiling is what takes the time, so a student of two stages. The critics' 64 locations are the
# full 8x8 map: nothing is drawn.
STUDENT = two_stage_config(width=4)


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize('part', ['student', 'student.backbone'])
def test_a_compiled_student_gives_the_losses_of_eager(part):
    eager = small_distiller(student=STUDENT, taps=TWO_STAGE_TAPS)
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
