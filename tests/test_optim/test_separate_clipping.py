"""The student's gradients are clipped as those of the plain model, whatever is added to it."""

import pytest
import torch
from mmengine.optim import OptimWrapper
from torch import nn

from mmmuse.optim.separate_clipping import SeparateClipping, clip_separately

from ..conftest import labelled, small_distiller
from ..test_distillers.transfer import MUSE, batch, online
from ..test_hooks.test_student_checkpoint import train


def norm(parameters) -> float:
    return torch.stack([p.grad.norm() for p in parameters if p.grad is not None]).norm().item()


def step(distiller, images=None, samples=None, **clip_grad) -> dict[str, float]:
    """Take a step of length 0 and return the norms before it; the gradients stay as clipped."""
    optimizer = torch.optim.SGD(distiller.parameters(), lr=0.0)
    wrapper = OptimWrapper(optimizer, clip_grad=clip_grad)
    clip_separately(wrapper, distiller)
    if images is None:
        images, samples = torch.randn(4, 3, 32, 32), labelled([0, 1, 2, 3])
    total, _ = distiller.parse_losses(distiller(images, samples, mode='loss'))
    total.backward()
    before = {name: norm([p]) for name, p in distiller.named_parameters() if p.grad is not None}
    wrapper.step()
    return before


def test_student_and_additions_have_the_highest_norm_each():
    distiller = small_distiller()
    before = step(distiller, max_norm=0.1)
    student = list(distiller.student.parameters())
    own = {id(parameter) for parameter in student}
    added = [p for p in distiller.parameters() if id(p) not in own]
    assert norm(student) == pytest.approx(0.1, rel=1e-3)
    assert norm(added) == pytest.approx(0.1, rel=1e-3)
    total = torch.tensor([v for k, v in before.items() if k.startswith('student.')]).norm().item()
    for name, parameter in distiller.student.named_parameters():
        expected = before[f'student.{name}'] * 0.1 / total
        assert norm([parameter]) == pytest.approx(expected, rel=1e-3, abs=1e-7)


def test_each_peer_has_the_highest_norm():
    distiller = online(MUSE)
    step(distiller, *batch(), max_norm=0.1)
    for network in distiller.networks.values():
        assert norm(network.parameters()) == pytest.approx(0.1, rel=1e-3)


def test_values_are_clipped_as_before():
    distiller = small_distiller()
    step(distiller, type='value', clip_value=1e-3)
    largest = max(p.grad.abs().max() for p in distiller.parameters() if p.grad is not None)
    assert largest == pytest.approx(1e-3)


def test_the_students_norm_is_returned_and_logged(tmp_path):
    parameters = [nn.Parameter(torch.zeros(2)) for _ in range(3)]
    for parameter, value in zip(parameters, (3.0, 30.0, 300.0)):
        parameter.grad = torch.tensor([value, 0.0])
    student = nn.ParameterList(parameters[:1])
    clip = SeparateClipping(nn.utils.clip_grad_norm_, [student])
    assert clip(parameters, max_norm=1e3) == 3.0
    assert clip(parameters[1:], max_norm=1e3) is None

    optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.01), clip_grad=dict(max_norm=0.05))
    runner, _ = train(tmp_path, optim_wrapper=optim_wrapper)
    assert isinstance(runner.optim_wrapper.clip_func, SeparateClipping)
    logged = runner.message_hub.get_scalar('train/grad_norm').data[0]
    assert len(logged) == 3
    assert (logged > 0).all()


def test_a_wrapper_without_clipping_is_left_alone():
    wrapper = OptimWrapper(torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1))
    clip_separately(wrapper, small_distiller('ce'))
    assert not hasattr(wrapper, 'clip_func')
