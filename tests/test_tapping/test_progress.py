import pytest
from mmengine.logging import MessageHub

from mmmuse.errors import InputError
from mmmuse.tapping.progress import training_epoch, training_progress


def test_progress_is_the_part_of_the_iterations_that_lies_behind(hub):
    hub.update_info('max_iters', 8)
    progress = []
    for i in range(8):
        hub.update_info('iter', i)
        progress.append(training_progress())
    assert progress == [0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875]


def test_progress_never_exceeds_one(hub):
    hub.update_info_dict(dict(max_iters=8, iter=9))
    assert training_progress() == 1.0


def test_without_a_runner_progress_is_that_of_the_end(hub):
    assert 'max_iters' not in hub.runtime_info
    assert training_progress() == 1.0


def test_the_epoch_counts_from_zero(hub):
    hub.update_info_dict(dict(epoch=3, max_epochs=10))
    assert training_epoch('X') == (3, 10)


@pytest.mark.parametrize('max_epochs', [None, 1])
def test_where_nothing_counts_epochs_one_line_says_who_needs_them(hub, max_epochs):
    hub.pop_info('max_epochs')
    if max_epochs is not None:  # MMEngine's iteration-based loop gives 1.
        hub.update_info('max_epochs', max_epochs)
    with pytest.raises(InputError, match=r'^XDistiller counts epochs.*by_epoch=True') as error:
        training_epoch('XDistiller')
    assert '\n' not in str(error.value)
    assert MessageHub.get_current_instance() is hub
