import pytest
import torch
from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from mmengine.model import MMDistributedDataParallel
from mmengine.optim import OptimWrapper

from mmmuse.command_line.explain import explanation
from mmmuse.errors import InputError
from mmmuse.losses import losses_of_phases

from ..test_hooks.test_student_checkpoint import assert_same, read, train
from ..two_processes import in_two_processes
from .test_offline import HOOKS, run_config
from .transfer import MUSE, batch, offline

FEATURES = dict(type='mmmuse.FitNetLoss', modules=[3])
KD = dict(type='mmmuse.KDLoss', temperature=4)
PHASES = [dict(epochs=2, losses=[FEATURES], task_loss=False), dict(losses=[KD, FEATURES])]


class TermsHook(Hook):
    """Keeps the names of each step's losses, and the head's weights after it."""

    def __init__(self) -> None:
        self.names, self.heads = [], []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.names.append({name for name in outputs if 'loss' in name})
        self.heads.append(runner.model.student.head.fc.weight.detach().clone())


def phased(teacher: str, **options) -> dict:
    config = run_config(teacher)
    del config['losses']
    return {**config, 'phases': PHASES, **options}


@pytest.mark.parametrize('balance', ['fixed', dict(type='gradient', interval=2)])
def test_phases_are_trained_one_after_the_other_and_resumed_to_the_same_bits(
    balance,
    teacher_file,
    tmp_path,
):
    terms = TermsHook()
    model = phased(teacher_file, loss_balance=balance)
    options = dict(custom_hooks=[*HOOKS, terms], epochs=4)
    straight, _ = train(tmp_path / 'one', model, **options)
    first, second = {'loss', 'loss_fitnet'}, {'loss', 'loss_student', 'loss_kd', 'loss_fitnet'}
    assert terms.names == 6 * [first] + 6 * [second]
    assert torch.equal(terms.heads[0], terms.heads[5])
    assert not torch.equal(terms.heads[5], terms.heads[6])
    for epoch in (1, 3):
        begun = str(tmp_path / 'one' / f'epoch_{epoch}.pth')
        assert any(name.startswith('balance') for name in read(begun)['distiller']) == (
            balance != 'fixed'
        )
        model = phased(teacher_file, loss_balance=balance)
        again = TermsHook()
        options['custom_hooks'] = [*HOOKS, again]
        resumed, _ = train(tmp_path / str(epoch), model, load_from=begun, resume=True, **options)
        assert_same(resumed.model.state_dict(), straight.model.state_dict())
        assert len(again.names) == 3 * (4 - epoch)


@pytest.mark.parametrize('options', [dict(), dict(losses=[KD], phases=[dict(losses=[KD])])])
def test_losses_or_phases_are_needed(options):
    with pytest.raises(InputError, match=r'OfflineDistiller needs losses, .* or phases'):
        offline(**{'losses': [], **options})


def test_a_ratio_of_gradients_needs_a_loss_of_the_students_own():
    distiller = offline(losses=[], phases=[dict(iters=2, losses=[MUSE], task_loss=False), {}])
    distiller.measures_gradients = True
    hub = MessageHub.get_instance('ratio of phases')
    hub.update_info_dict(dict(iter=0, max_iters=4))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MessageHub, 'get_current_instance', lambda: hub)
        losses = distiller(*batch(), mode='loss')
        assert 'loss_muse' in losses
        assert 'gradient_ratio' not in losses


def test_a_step_in_which_no_loss_counts_is_refused():
    phases = [dict(iters=2, losses=[KD]), dict(iters=1, losses=[KD], task_loss=False)]
    distiller = offline(losses=[{**KD, 'iters': (0, 2)}])
    distiller._without_task = losses_of_phases(phases)[1]
    hub = MessageHub.get_instance('no loss')
    hub.update_info_dict(dict(iter=2, max_iters=4))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MessageHub, 'get_current_instance', lambda: hub)
        with pytest.raises(
            InputError, match='no loss counts in this step: phases, and losses with'
        ):
            distiller(*batch(), mode='loss')


def train_each(rank: int, folder: str) -> None:
    """One of two processes: a step in each of two phases, with and without looking for parameters."""
    hub = MessageHub.get_current_instance()
    said = None
    for searches in (True, False):
        torch.manual_seed(0)
        distiller = offline(losses=[], phases=[dict(iters=2, losses=[FEATURES]), dict(losses=[KD])])
        model = MMDistributedDataParallel(
            distiller, device_ids=None, find_unused_parameters=searches
        )
        wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
        images, samples = batch()
        try:
            for step in range(4):
                hub.update_info('iter', step)
                hub.update_info('max_iters', 4)
                model.train_step(dict(inputs=images + rank, data_samples=samples), wrapper)
        except RuntimeError as error:
            said = explanation(error)
        else:
            state = dict(distiller.named_parameters())
    torch.save(dict(state=state, said=said), f'{folder}/{rank}.pt')


@pytest.mark.slow
def test_two_processes_need_a_search_for_unused_parameters(tmp_path):
    in_two_processes(train_each, tmp_path)
    first, second = (torch.load(tmp_path / f'{rank}.pt') for rank in (0, 1))
    assert_same(first['state'], second['state'])
    assert 'need find_unused_parameters=True in the config' in first['said']
