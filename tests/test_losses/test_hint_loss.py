import torch

from mmmuse.losses import HintLoss
from mmmuse.tapping.features import DistillFeatures, Step

from .shapes import within


def test_each_exit_is_pooled_and_imitates_the_pooled_last_feature():
    # Pooled exits 3 and 1, pooled last 2: squared differences 1 and 1.
    first = torch.tensor([[[[2.0, 4.0], [1.0, 5.0]]]], requires_grad=True)
    second = torch.tensor([[[[1.0]]]], requires_grad=True)
    last = torch.tensor([[[[1.0, 3.0]]]], requires_grad=True)
    loss = HintLoss(*within([4, 5], 1), loss_weight=0.5)
    losses = loss(Step.within(DistillFeatures((), last, exits=(first, second))))
    assert set(losses) == {'loss_l2'}
    assert losses['loss_l2'].item() == 1.0
    losses['loss_l2'].backward()
    # d/dx of 0.5 * (mean - 2)^2 is (mean - 2) / 4 at each of four places.
    assert torch.equal(first.grad, torch.full((1, 1, 2, 2), 0.25))
    assert torch.equal(second.grad, torch.full((1, 1, 1, 1), -1.0))
    assert last.grad is None


def test_reads_the_necks_maps_and_weighs_them_as_byot_does():
    assert HintLoss.reads == {'exits', 'vector'}
    assert HintLoss(*within([4], 1)).loss_weight == 1e-6
    assert not list(HintLoss(*within([4], 1)).parameters())
