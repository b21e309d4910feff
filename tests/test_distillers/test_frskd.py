import pytest
import torch
from torch import nn

from mmmuse.errors import InputError

from ..conftest import TAPS, labelled
from .rivals import rival

LABELS = [0, 3, 1, 2]


def test_losses_are_the_teachers_own_and_what_it_teaches():
    distiller = rival('frskd', temperature=2.0, kd_weight=0.5, attention_weight=3.0)
    for classifier in (distiller.student.head, distiller.classifier):
        nn.init.normal_(classifier.fc.weight)
    seen = {}
    for name, module in (
        ('logits', distiller.student.head),
        ('teacher', distiller.classifier),
        ('pyramid', distiller.pyramid),
    ):
        module.register_forward_hook(
            lambda _, args, out, name=name: seen.update({name: (args, out)})
        )
    losses = distiller(torch.randn(4, 3, 16, 16), labelled(LABELS), mode='loss')
    logits, teacher = seen['logits'][1].double(), seen['teacher'][1].double()
    (maps,), refined = seen['pyramid']
    assert [map.shape[1] for map in maps] == [8, 16, 32, 64]
    # The deepest refined map is what is classified.
    torch.testing.assert_close(seen['teacher'][0][0][0], refined[-1].mean((2, 3)))
    attention = 0.0
    for map, target in zip(maps, refined):
        squares = []
        for n in range(4):
            a, t = ((x[n].double() ** 2).mean(0).flatten() for x in (map, target))
            squares.append((a / a.norm() - t / t.norm()) ** 2)
        attention += torch.stack(squares).mean().item()
    cross_entropy = -sum(teacher[n].log_softmax(0)[label] for n, label in enumerate(LABELS)) / 4
    p, q = (teacher / 2).softmax(1), (logits / 2).softmax(1)
    kd = 4 * (p * (p.log() - q.log())).sum().item() / 4
    assert losses['self_teacher.loss_ce'].item() == pytest.approx(cross_entropy.item(), rel=1e-4)
    assert losses['loss_kd'].item() == pytest.approx(0.5 * kd, rel=1e-3)
    assert losses['loss_attention'].item() == pytest.approx(3 * attention, rel=1e-4)


def test_what_the_teacher_teaches_does_not_train_it():
    distiller = rival('frskd')
    losses = distiller(torch.randn(4, 3, 16, 16), labelled(LABELS), mode='loss')
    (losses['loss_kd'] + losses['loss_attention']).backward()
    for part in (distiller.pyramid, distiller.classifier):
        assert all(parameter.grad is None for parameter in part.parameters())
    assert all(parameter.grad is not None for parameter in distiller.student.parameters())


@pytest.mark.parametrize('detach', [False, True])
def test_the_teachers_own_loss_trains_the_student_unless_detached(detach):
    distiller = rival('frskd', detach_features=detach)
    losses = distiller(torch.randn(4, 3, 16, 16), labelled(LABELS), mode='loss')
    losses['self_teacher.loss_ce'].backward()
    trained = [p.grad is not None for p in distiller.student.backbone.parameters()]
    assert all(trained) != detach
    assert any(trained) != detach
    assert all(parameter.grad is not None for parameter in distiller.pyramid.parameters())


def test_the_pyramid_has_options():
    assert rival('frskd', pyramid=dict(width=0.5)).pyramid.out_channels == (4, 8, 16, 32)
    assert rival('frskd', pyramid=None).pyramid.out_channels == (16, 32, 64, 128)


def test_a_tap_that_puts_out_a_vector_is_refused():
    with pytest.raises(InputError, match=r"'neck' outputs a vector.*before the pooling"):
        rival('frskd', taps={**TAPS, 'last': 'neck'})


def test_maps_have_to_be_tapped():
    with pytest.raises(InputError, match=r'needs taps\.modules and taps\.last'):
        rival('frskd', taps=dict(logits='head'))
