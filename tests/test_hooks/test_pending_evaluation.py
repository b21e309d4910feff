import json
from pathlib import Path

import pytest
from mmengine.hooks import Hook

from mmmuse.hooks import PendingEvaluationHook, SafeCheckpointHook, StepSeedHook

from ..kills.comparison import read
from .test_student_checkpoint import build_runner, loader


class Killed(BaseException):
    """Ends a run as a kill does."""


class KillAtEvaluation(Hook):
    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def before_val_epoch(self, runner) -> None:
        if runner.epoch == self.epoch:
            raise Killed


def runner_of(work_dir: Path, epochs: int = 2, interval: int = 1, save_best: str = 'auto', **more):
    checkpoint = dict(type='CheckpointHook', interval=1, save_best=save_best)
    runner = build_runner(
        work_dir,
        val_dataloader=loader(shuffle=False),
        val_cfg={},
        val_evaluator=[dict(type='Accuracy')],
        train_cfg=dict(by_epoch=True, max_epochs=epochs, val_interval=interval),
        default_hooks=dict(checkpoint=checkpoint),
        **more,
    )
    for hook in runner.hooks:
        if type(hook).__name__ == 'CheckpointHook':
            hook.__class__ = SafeCheckpointHook
    for kind in (StepSeedHook, PendingEvaluationHook):
        runner.register_hook(kind())
    return runner


def evaluated(work_dir: Path) -> list[int]:
    records = [
        json.loads(line)
        for log in sorted(work_dir.glob('*/vis_data/scalars.json'))
        for line in log.read_text().splitlines()
    ]
    return [record['step'] for record in records if 'accuracy/top1' in record]


def killed_in_evaluation(work_dir: Path, epoch: int, **options) -> Path:
    runner = runner_of(work_dir, **options)
    runner.register_hook(KillAtEvaluation(epoch))
    with pytest.raises(Killed):
        runner.train()
    return work_dir / f'epoch_{epoch}.pth'


@pytest.mark.parametrize('epoch', [1, 2])
def test_an_epoch_that_was_killed_before_its_evaluation_is_evaluated(tmp_path, epoch):
    straight, killed = tmp_path / 'straight', tmp_path / 'killed'
    runner_of(straight, epochs=3).train()
    path = killed_in_evaluation(killed, epoch, epochs=3)
    runner_of(killed, epochs=3, load_from=str(path), resume=True).train()
    assert evaluated(killed) == evaluated(straight) == [1, 2, 3]
    (best,) = straight.glob('best_*.pth')
    info = read(killed / 'epoch_3.pth')['message_hub']['runtime_info']
    assert (
        info['best_score']
        == read(straight / 'epoch_3.pth')['message_hub']['runtime_info']['best_score']
    )
    assert [path.name for path in killed.glob('best_*.pth')] == [best.name]


def test_an_epoch_that_was_not_to_be_evaluated_is_not(tmp_path):
    runner = runner_of(tmp_path, epochs=1, interval=1)
    runner.val_loop  # noqa: B018
    runner.train_loop.val_begin = 5
    runner.train()
    path = str(tmp_path / 'epoch_1.pth')
    runner_of(tmp_path, epochs=2, interval=2, load_from=path, resume=True).train()
    assert evaluated(tmp_path) == [2]


def test_a_checkpoint_that_was_saved_after_its_evaluation_is_not_evaluated_again(tmp_path):
    runner_of(tmp_path, epochs=1).train()  # The first is the best, and saved again.
    path = str(tmp_path / 'epoch_1.pth')
    runner_of(tmp_path, epochs=2, load_from=path, resume=True).train()
    assert evaluated(tmp_path) == [1, 2]


def test_a_finished_run_is_evaluated_when_it_is_resumed(tmp_path):
    runner_of(tmp_path, epochs=1).train()
    path = str(tmp_path / 'epoch_1.pth')
    runner_of(tmp_path, epochs=1, load_from=path, resume=True).train()
    assert evaluated(tmp_path) == [1, 1]


def test_training_that_starts_from_weights_is_not_evaluated_first(tmp_path):
    runner_of(tmp_path / 'one', epochs=1).train()
    path = str(tmp_path / 'one' / 'epoch_1.pth')
    runner_of(tmp_path / 'two', epochs=1, load_from=path).train()
    assert evaluated(tmp_path / 'two') == [1]
