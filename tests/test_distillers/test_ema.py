import torch
from mmengine.model import ExponentialMovingAverage
from torch import nn

from ..conftest import labelled, small_distiller


def test_an_average_updates_without_changing_the_live_taps():
    distiller = small_distiller()
    average = ExponentialMovingAverage(distiller, momentum=0.25)
    x, samples = torch.randn(4, 3, 32, 32), labelled([0, 1, 2, 3])
    optimizer = torch.optim.SGD(distiller.parameters(), lr=0.1)
    start = {name: value.detach().clone() for name, value in distiller.named_parameters()}
    average.update_parameters(distiller)  # The first update copies.
    optimizer.zero_grad()
    distiller.parse_losses(distiller(x, samples, mode='loss'))[0].backward()
    optimizer.step()
    average.update_parameters(distiller)
    for name, averaged in average.module.named_parameters():
        live = distiller.get_parameter(name)
        assert not torch.equal(live, start[name]), name
        torch.testing.assert_close(averaged, 0.75 * start[name] + 0.25 * live)
    with distiller.taps:
        average.module.student(x)
        live_output = distiller.student(x)
        assert distiller.taps.pop()['head'] is live_output


def test_an_average_predicts_with_its_own_taps():
    distiller = small_distiller().eval()
    average = ExponentialMovingAverage(distiller).eval()
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        nn.init.zeros_(distiller.student.backbone.conv1.weight)
    live, averaged = distiller(x, mode='predict'), average(x, mode='predict')
    assert not torch.allclose(live[0].exit_scores, averaged[0].exit_scores)
    for own, sample in zip(average.module.student(x, mode='predict'), averaged):
        assert torch.equal(sample.pred_score, own.pred_score)
