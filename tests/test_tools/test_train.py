"""The main job, on the digits that scikit-learn ships."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmpretrain import get_model
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mmmuse.datasets import BatchedDigits

from ..conftest import needs_torch
from ..forks import Fork, mmmuse
from ..two_processes import start_two_processes
from .conftest import ROOT, copy_run, run_command

BASELINE = 'configs/demo/resnet18_digits.py'
DISTILLED = 'configs/demo/resnet18_digits_mi_x_si.py'
# Three steps an epoch.
SHORT = [
    'train_dataloader.batch_size=16',
    'train_dataloader.dataset.indices=48',
    'val_dataloader.dataset.indices=60',
    'test_dataloader.dataset.indices=60',
    'train_cfg.max_epochs=2',
    'param_scheduler.T_max=2',
    'default_hooks.information.interval=2',
    'default_hooks.logger.interval=1',
]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(('127.0.0.1', 0))
        return listener.getsockname()[1]


def scalars(work_dir: Path) -> list[dict]:
    lines = []
    for log in sorted(work_dir.glob('*/vis_data/scalars.json')):
        lines += [json.loads(line) for line in log.read_text().splitlines()]
    return lines


def train_one_epoch(tool, config: Path, *flags: str) -> Path:
    """Train a config written beside its work dir, and return that."""
    work_dir = config.parent / 'run'
    options = ['--cfg-options', *SHORT, 'train_cfg.max_epochs=1']
    finished = tool('train.py', config, '--work-dir', work_dir, *flags, *options)
    assert finished.code == 0, finished.err
    return work_dir


@pytest.fixture(scope='module')
def trained(tmp_path_factory) -> Path:
    """The work dir of two epochs; a test that writes into it takes a copy."""
    work_dir = tmp_path_factory.mktemp('trained') / 'run'
    assert run_command('train.py', DISTILLED, '--work-dir', work_dir, '--cfg-options', *SHORT) == 0
    return work_dir


def test_training_reports_every_exit_and_logs_the_information_terms(trained):
    records = scalars(trained)
    metrics = [record for record in records if 'accuracy/top1' in record]
    assert len(metrics) == 2
    assert {'exit1/top1', 'exit2/top1', 'exit3/top1', 'exit4/top1'} <= set(metrics[-1])
    assert metrics[-1]['exit4/top1'] == pytest.approx(metrics[-1]['accuracy/top1'])
    information = [record for record in records if 'information/mi_loss_1' in record]
    assert [record['step'] for record in information] == [2, 4, 6]
    assert {f'information/{kind}_loss_{i}' for kind in ('mi', 'si') for i in (1, 2, 3)} <= set(
        information[0]
    )


def test_the_checkpoint_loads_strictly_into_the_plain_baseline_and_predicts_the_same(trained):
    checkpoint = torch.load(trained / 'epoch_2.pth', weights_only=False)
    plain = get_model(Config.fromfile(BASELINE), pretrained=str(trained / 'epoch_2.pth'))
    assert plain.state_dict().keys() == checkpoint['state_dict'].keys()
    for name, value in plain.state_dict().items():
        assert torch.equal(value, checkpoint['state_dict'][name]), name
    distiller = get_model(Config.fromfile(DISTILLED))
    distiller.load_state_dict(
        {
            **{f'student.{name}': value for name, value in checkpoint['state_dict'].items()},
            **checkpoint['distiller'],
        },
        strict=True,
    )
    batch = BatchedDigits('test').__getitems__(range(20))
    with torch.no_grad():
        expected = plain.eval().val_step(batch)
        found = distiller.eval().val_step(batch)
    for one, other in zip(expected, found):
        assert torch.equal(one.pred_score, other.pred_score)
        assert 'exit_scores' in other
        assert 'exit_scores' not in one


def test_resume_without_a_checkpoint_starts_with_the_weights_of_the_config(tool, trained, tmp_path):
    weights = trained / 'epoch_2.pth'
    work_dir = tmp_path / 'run'
    options = [*SHORT, f'load_from={weights}', 'optim_wrapper.optimizer.lr=0']
    finished = tool(
        'train.py', DISTILLED, '--work-dir', work_dir, '--resume', '--cfg-options', *options
    )
    assert finished.code == 0, finished.err
    before, after = (
        torch.load(folder / 'epoch_2.pth', weights_only=False)['state_dict']
        for folder in (trained, work_dir)
    )
    assert torch.equal(before['backbone.conv1.weight'], after['backbone.conv1.weight'])


def test_resume_goes_on_at_the_next_epoch(tool, trained, tmp_path):
    work_dir = copy_run(trained, tmp_path / 'run')
    finished = tool(
        'train.py',
        DISTILLED,
        '--work-dir',
        work_dir,
        '--resume',
        '--cfg-options',
        *SHORT,
        'train_cfg.max_epochs=3',
        'param_scheduler.T_max=3',
    )
    assert finished.code == 0, finished.err
    epochs = [record['epoch'] for record in scalars(work_dir) if 'loss' in record]
    assert epochs == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert (work_dir / 'epoch_3.pth').exists()
    dumped = work_dir / Path(DISTILLED).name
    assert Config.fromfile(dumped).load_from is None  # A later --resume is to choose again.
    (best,) = work_dir.glob('best_*.pth')
    tested = tool('test.py', dumped, best, '--work-dir', tmp_path / 'test')
    assert tested.code == 0, tested.err


def test_a_run_goes_on_with_the_config_that_it_has_written(tool, trained, tmp_path):
    work_dir = copy_run(trained, tmp_path / 'run')
    dumped = work_dir / Path(DISTILLED).name
    longer = ['train_cfg.max_epochs=3', 'param_scheduler.T_max=3']
    flags = ['--work-dir', work_dir, '--resume', '--cfg-options', *longer]
    finished = tool('train.py', dumped, *flags)
    assert finished.code == 0, finished.err
    assert (work_dir / 'epoch_3.pth').exists()
    assert Config.fromfile(dumped).train_cfg.max_epochs == 3


def test_a_config_whose_base_is_the_package_trains_to_the_same_weights(tool, trained, tmp_path):
    config = tmp_path / 'own.py'
    base = DISTILLED.replace('configs/', 'mmmuse::')
    config.write_text(f'_base_ = [{base!r}]\ntrain_cfg = dict(val_interval=1)\n')
    work_dir = tmp_path / 'run'
    finished = tool('train.py', config, '--work-dir', work_dir, '--cfg-options', *SHORT)
    assert finished.code == 0, finished.err
    ours, shipped = (
        torch.load(run / 'epoch_2.pth', weights_only=False)['state_dict']
        for run in (work_dir, trained)
    )
    assert ours.keys() == shipped.keys()
    assert all(torch.equal(ours[name], shipped[name]) for name in ours)


def test_testing_the_distilled_and_the_plain_config_agree(tool, trained, tmp_path):
    found = {}
    for config in (DISTILLED, BASELINE):
        out = tmp_path / f'{Path(config).stem}.json'
        finished = tool(
            'test.py',
            config,
            trained / 'epoch_2.pth',
            '--work-dir',
            tmp_path / 'test',
            '--out',
            out,
            '--out-item',
            'metrics',
            '--cfg-options',
            *SHORT[:4],
        )
        assert finished.code == 0, finished.err
        found[config] = json.loads(out.read_text())
    assert found[BASELINE]['accuracy/top1'] == found[DISTILLED]['accuracy/top1']
    assert 'exit3/top1' in found[DISTILLED]
    assert 'exit3/top1' not in found[BASELINE]


def test_amp_no_validate_and_channels_last_train(tool, tmp_path):
    finished = tool(
        'train.py',
        DISTILLED,
        '--work-dir',
        tmp_path,
        '--amp',
        '--no-validate',
        '--cfg-options',
        *SHORT[:2],
        'train_cfg.max_epochs=1',
        'default_hooks.logger.interval=1',
        'default_hooks.channels_last.type=mmmuse.ChannelsLastHook',
    )
    assert finished.code == 0, finished.err
    records = scalars(tmp_path)
    assert all('accuracy/top1' not in record for record in records)
    assert [record for record in records if 'loss_muse' in record]


def test_auto_scale_lr_scales_with_the_batch_size(tool, tmp_path):
    finished = tool(
        'train.py',
        DISTILLED,
        '--work-dir',
        tmp_path,
        '--auto-scale-lr',
        '--cfg-options',
        *SHORT,
        'auto_scale_lr.base_batch_size=128',
        'train_cfg.max_epochs=1',
        'param_scheduler.T_max=1000',
    )
    assert finished.code == 0, finished.err
    first = next(record for record in scalars(tmp_path) if 'lr' in record)
    assert first['lr'] == pytest.approx(0.05 * 16 / 128, rel=1e-3)


def test_a_config_without_the_checkpoint_hook_still_saves_the_student(tool, tmp_path):
    config = tmp_path / 'config.py'
    config.write_text(
        f'_base_ = {str(Path(DISTILLED).resolve())!r}\n'
        'default_hooks = dict(\n'
        '    _delete_=True,\n'
        '    logger=dict(type="LoggerHook"),\n'
        '    information=dict(type="mmmuse.InformationLoggerHook"),\n'
        ')\n'
    )
    train_one_epoch(tool, config)
    checkpoint = torch.load(tmp_path / 'run' / 'epoch_1.pth', weights_only=False)
    plain = get_model(Config.fromfile(BASELINE))
    plain.load_state_dict(checkpoint['state_dict'], strict=True)
    assert checkpoint['distiller']


def test_an_endless_sampler_leaves_no_last_batch_over(tool, tmp_path):
    config = tmp_path / 'config.py'
    config.write_text(
        f'_base_ = {str(Path(DISTILLED).resolve())!r}\n'
        'train_cfg = dict(_delete_=True, by_epoch=False, max_iters=3, val_interval=3)\n'
        'param_scheduler = None\n'
    )
    options = [option for option in SHORT if 'epochs' not in option and 'T_max' not in option]
    finished = tool(
        'train.py',
        config,
        '--work-dir',
        tmp_path / 'run',
        '--cfg-options',
        *options,
        'train_dataloader.dataset.indices=129',
        'train_dataloader.drop_last=False',
        'train_dataloader.sampler.type=InfiniteSampler',
    )
    assert finished.code == 0, finished.err


@needs_torch('2.2', 'compiled, SGD with momentum ends in an error of PyTorch')
def test_mmengines_compile_key_trains(tool, tmp_path):
    config = tmp_path / 'config.py'
    config.write_text(
        f'_base_ = {str(Path(BASELINE).resolve())!r}\ncompile = dict(backend="aot_eager")\n'
        # Compiling is what takes the time, so a network of one block.
        'model = dict(backbone=dict('
        'depth=10, num_stages=1, strides=(1,), dilations=(1,), out_indices=(0,)),'
        ' head=dict(in_channels=16))\n'
    )
    train_one_epoch(tool, config)


def test_amp_takes_the_place_of_scaled_float16(tool, tmp_path):
    config = tmp_path / 'config.py'
    config.write_text(
        f'_base_ = {str(Path(DISTILLED).resolve())!r}\n'
        'optim_wrapper = dict(type="AmpOptimWrapper", loss_scale="dynamic", dtype="float16")\n'
    )
    train_one_epoch(tool, config, '--amp', '--no-validate')


def assert_trained_by_two_processes(work_dir: Path) -> None:
    # 48 images in batches of 16, half of them in each process.
    losses = [record for record in scalars(work_dir) if 'loss' in record]
    assert len(losses) == 1
    assert (work_dir / 'epoch_1.pth').exists()


def test_two_processes_train_by_dist_train(tmp_path):
    environment = {
        **os.environ,
        'PATH': f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}',
        'PORT': str(free_port()),
        'OMP_NUM_THREADS': '1',
    }
    work_dir = tmp_path / 'run'
    options = ['--cfg-options', *SHORT, 'train_cfg.max_epochs=1']
    finished = subprocess.run(
        ['tools/dist_train.sh', DISTILLED, '2', '--work-dir', work_dir, *options],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
    assert_trained_by_two_processes(work_dir)
    # In its own processes MMEngine lays the config out, which it does not in the other tests.
    dumped = (work_dir / Path(DISTILLED).name).read_text()
    assert re.search(r'dict\(\w+=[^\n]+, \w+=', dumped)  # Two keys in one line.
    assert Config.fromfile(work_dir / Path(DISTILLED).name).model.type == 'mmmuse.SelfDistiller'


def train_one_of_two(rank: int, port: int, config: Path) -> None:
    """Train as the process that torch's launcher starts."""
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE='2')
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    flags = ['--launcher', 'pytorch', '--work-dir', config.parent / 'run']
    options = ['--cfg-options', *SHORT, 'train_cfg.max_epochs=1']
    assert run_command('train.py', config, *flags, *options) == 0
    assert torch.distributed.is_initialized() == (torch.__version__ < '2.11')


@pytest.mark.slow
def test_one_of_two_processes_writes_the_metrics_of_a_test(trained, tmp_path):
    out = tmp_path / 'metrics.json'
    launcher = ['torch.distributed.run', '--nproc_per_node=2', f'--master_port={free_port()}']
    files = [DISTILLED, trained / 'epoch_2.pth', '--work-dir', tmp_path / 'test', '--out', out]
    options = ['--launcher', 'pytorch', '--out-item', 'metrics', '--cfg-options', SHORT[3]]
    finished = subprocess.run(
        [sys.executable, '-m', *launcher, 'tools/test.py', *files, *options],
        cwd=ROOT,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
    assert 'accuracy/top1' in json.loads(out.read_text())


def test_two_processes_train_in_a_model_wrapper_of_the_config(tmp_path):
    config = tmp_path / 'config.py'
    config.write_text(
        f'_base_ = {str(ROOT / DISTILLED)!r}\n'
        "model_wrapper_cfg = dict(type='MMDistributedDataParallel')\n"
    )
    start_two_processes(train_one_of_two, free_port(), config)
    assert_trained_by_two_processes(tmp_path / 'run')


def test_ctrl_c_says_how_to_go_on_and_resuming_does(tool, tmp_path):
    options = ['--cfg-options', *SHORT, 'train_cfg.max_epochs=500']
    command = mmmuse('train', DISTILLED, '--work-dir', tmp_path, *options)
    log = tmp_path / 'said.txt'
    with log.open('w') as err, open(os.devnull, 'w') as out:
        process = Fork(command, out.fileno(), err.fileno())
        process.start()
    while not (tmp_path / 'last_checkpoint').exists():
        assert process.is_alive(), log.read_text()
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    process.join(60)
    said = log.read_text()
    assert process.exitcode == 130, said
    assert said.splitlines()[-1].startswith('interrupted; --resume goes on')
    assert 'Traceback' not in said
    last = torch.load(Path((tmp_path / 'last_checkpoint').read_text()), weights_only=False)['meta'][
        'epoch'
    ]
    finished = tool(
        'train.py',
        DISTILLED,
        '--work-dir',
        tmp_path,
        '--resume',
        '--cfg-options',
        *SHORT,
        f'train_cfg.max_epochs={last + 1}',
    )
    assert finished.code == 0, finished.err
    assert (tmp_path / f'epoch_{last + 1}.pth').exists()


def test_curves_of_a_run_are_drawn(tool, trained, tmp_path):
    out = tmp_path / 'information.png'
    finished = tool('analysis/plot_information.py', trained, '--out', out)
    assert finished.code == 0, finished.err
    assert out.read_bytes()[:8] == b'\x89PNG\r\n\x1a\n'


def test_drawing_a_run_without_information_says_so(tool, only_error, tmp_path):
    assert 'holds no log' in only_error(tool('analysis/plot_information.py', tmp_path))


def test_tensorboard_gets_the_information_terms_by_config(tool, tmp_path):
    finished = tool(
        'train.py',
        DISTILLED,
        '--work-dir',
        tmp_path,
        '--cfg-options',
        *SHORT,
        'visualizer.vis_backends.0.type=TensorboardVisBackend',
    )
    assert finished.code == 0, finished.err
    events = EventAccumulator(str(next(tmp_path.glob('*/vis_data')))).Reload()
    assert [event.step for event in events.Scalars('information/si_loss_3')] == [2, 4, 6]


# The widths of the networks, which are built and stepped in a fraction of the time.
NARROW = {
    'resnet18_tinyimagenet': {
        'backbone.stem_channels': 8,
        'backbone.base_channels': 8,
        'head.in_channels': 64,
    },
    'vgg19_cifar100': {},
    'nasnet_cifar100': {
        'backbone.stem_channels': 12,
        'backbone.channels': 12,
        'head.in_channels': 288,
    },
}


@pytest.mark.parametrize('name', NARROW)
def test_a_network_of_the_paper_trains_two_steps_with_its_own_data(tool, tmp_path, name):
    data = ROOT / 'data' / ('cifar100' if 'cifar' in name else 'tiny-imagenet-mini')
    if not data.exists():
        pytest.skip(f'no data in {data.name}')
    finished = tool(
        *('train.py', f'configs/muse/{name}_mi_x_si.py', '--work-dir', tmp_path / 'run'),
        *('--no-validate', '--cfg-options', 'train_cfg.max_epochs=1'),
        f'train_dataloader.dataset.data_root={data}',
        'train_dataloader.dataset.indices=8',
        'train_dataloader.batch_size=4',
        'train_dataloader.num_workers=0',
        'train_dataloader.persistent_workers=False',
        'default_hooks.logger.interval=1',
        # The critics of 512 channels are most of the weights, and not what the networks differ in.
        'model.head.discrepancy.critic.hidden_channels=16',
        *(f'model.student.{key}={value}' for key, value in NARROW[name].items()),
    )
    assert finished.code == 0, finished.err
    losses = [line['loss'] for line in scalars(tmp_path / 'run') if 'loss' in line]
    assert len(losses) == 2
    assert all(0 < loss < 100 for loss in losses)


def test_a_run_that_was_stopped_in_its_last_evaluation_is_evaluated(tool, trained, tmp_path):
    work_dir = copy_run(trained, tmp_path / 'run')

    def evaluated() -> list[int]:
        records = [
            json.loads(line)
            for log in work_dir.glob('*/vis_data/scalars.json')
            for line in log.read_text().splitlines()
        ]
        return [record['step'] for record in records if 'accuracy/top1' in record]

    assert evaluated() == [1, 2]
    for log in work_dir.glob('*/vis_data/scalars.json'):
        log.unlink()
    flags = ['--work-dir', work_dir, '--resume', '--cfg-options', *SHORT]
    assert tool('train.py', DISTILLED, *flags).code == 0
    assert evaluated() == [2]
