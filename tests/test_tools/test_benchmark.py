"""The benchmarks print a table and write its figures; what they measure is not tested here."""

import json
import platform
import runpy
import subprocess
import sys
from argparse import Namespace

import pytest
from mmengine.registry import DATASETS, init_default_scope

from mmmuse.command_line.config import load_config
from mmmuse.command_line.step_benchmark import interleaved_step_seconds
from mmmuse.commands import COMMANDS
from mmmuse.errors import InputError

from .conftest import ROOT

NARROW = 'configs/narrow/narrow-resnet18_cifar100_mi_x_si.py'


def test_step_time_counts_the_arithmetic_of_each_variant(tool, tmp_path):
    figures = tmp_path / 'figures.json'
    options = ['--batch-size', 2, '--steps', 1, '--warmup', 0, '--no-memory', '--json', figures]
    skipped = ['MI x SI critics, textbook', 'full MI x SI: exits + 64 locations']
    skipped += [f'MI x SI critics, {number} locations' for number in (4, 8, 16, 32)]
    finished = tool('benchmark/step_time.py', *options, '--skip', *skipped)
    assert finished.code == 0, finished.err
    assert 'x plain' in finished.out
    written = json.loads(figures.read_text())
    assert written['seconds'].keys() == written['flops'].keys()
    flops = {name: count / 2 / 1e6 for name, count in written['flops'].items()}
    # ResNet-18 at 32x32 does 556 million multiply-adds an image forward, and twice that backward but
    # for the gradient of the input, which the stem's convolution (1.8 million) does not need.
    assert flops['plain network'] == pytest.approx(2 * (3 * 555.5 - 1.8), rel=0.01)
    # The local projection and the hidden layer, the latter for two sets of pairs; 64 locations of
    # 512 units, forward and twice backward, MI and SI of 64, 128 and 256 channels.
    critics = sum(2 * 3 * 2 * 64 * (c * 512 + 2 * 512 * 512) for c in (64, 128, 256)) / 1e6
    added = flops['MI x SI critics, 64 locations'] - flops['plain network']
    assert added == pytest.approx(critics, rel=0.05)


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='malloc is not that of glibc')
def test_a_step_that_keeps_freed_memory_has_fewer_page_faults(tmp_path):
    figures = tmp_path / 'figures.json'
    # Maps of more than 32 MiB (520 images, 16 channels of 32x32), which glibc returns each time whatever was freed before.
    options = ['--config', NARROW, '--batch-size', 520, '--steps', 1, '--warmup', 1]
    command = [ROOT / 'tools' / 'benchmark' / 'freed_memory.py', *options]
    command += ['--variants', 'plain network', '--json', figures]
    # In a process of its own: in this one, a training may have changed malloc.
    subprocess.run([sys.executable, *map(str, command)], check=True, capture_output=True, cwd=ROOT)
    (plain,) = json.loads(figures.read_text())['steps'].values()
    assert plain['kept']['faults'] < plain['returned']['faults'] / 4
    assert plain['kept']['peak_mib'] > 0


def test_freed_memory_is_compared_on_a_cpu(tool, only_error):
    line = only_error(tool('benchmark/freed_memory.py', '--device', 'cuda'))
    assert '--device: page faults are those of a CPU, got cuda' in line


def test_settings_are_compared_with_none_of_them(tool, tmp_path):
    figures = tmp_path / 'figures.json'
    options = ['--config', NARROW, '--batch-size', 2, '--steps', 1, '--warmup', 0, '--cpu-time']
    settings = ['bfloat16', 'channels-last']
    finished = tool(
        'benchmark/step_settings.py', *options, '--settings', *settings, '--json', figures
    )
    assert finished.code == 0, finished.err
    assert "default_hooks.channels_last=dict(type='mmmuse.ChannelsLastHook')" in finished.out
    seconds = json.loads(figures.read_text())['seconds']
    assert list(seconds) == ['none of them', *settings]
    assert all(one['plain'] > 0 and one['full MI x SI'] > 0 for one in seconds.values())


def test_cpu_time_is_not_that_of_a_gpu():
    args = Namespace(cpu_time=True, device='cuda')
    with pytest.raises(InputError, match='--cpu-time is for --device cpu, got cuda'):
        interleaved_step_seconds({}, args)


def test_the_data_path_needs_its_data(tool, only_error, tmp_path):
    line = only_error(tool('benchmark/data_path.py', '--data-root', tmp_path))
    assert f'CIFAR100 is not in {tmp_path}' in line


def test_the_data_paths_are_compared_with_the_same_workers(tool, tmp_path, cifar100_root):
    figures = tmp_path / 'figures.json'
    options = ['--batches', 2, '--warmup', 1, '--repeats', 1, '--workers', 0, '--json', figures]
    finished = tool('benchmark/data_path.py', *options)
    assert finished.code == 0, finished.err
    rates = json.loads(figures.read_text())['images_per_second']['0']
    assert rates['batched'] > 0
    assert rates['per sample'] > 0


def test_a_runners_step_is_held_against_a_plain_loop(tool, tmp_path):
    figures = tmp_path / 'figures.json'
    options = ['--batch-size', 4, '--steps', 1, '--warmup', 1, '--json', figures]
    finished = tool('benchmark/offline_step.py', *options)
    assert finished.code == 0, finished.err
    assert 'overhead %' in finished.out
    seconds = json.loads(figures.read_text())['seconds']
    assert list(seconds) == ['kd', 'vid', 'crd']
    for times in seconds.values():
        assert times['ratio'] == pytest.approx(times['runner'] / times['plain'])


def test_a_stored_teacher_costs_no_arithmetic_and_a_teacher_its_forward(tool, tmp_path):
    figures = tmp_path / 'figures.json'
    options = ['--batch-size', 4, '--images', 8, '--steps', 1, '--warmup', 0, '--json', figures]
    finished = tool('benchmark/teacher_step.py', *options)
    assert finished.code == 0, finished.err
    flops = json.loads(figures.read_text())['flops']
    student, forward = flops['student alone'], flops["teacher's forward alone"]
    for losses in ('logits (KD)', 'logits and maps (KD, AT)'):
        assert flops[f'{losses}, stored'] == student
        assert flops[f'{losses}, teacher'] == student + forward


def test_a_detectors_step_counts_the_arithmetic_of_exit_and_critics(tool, tmp_path):
    figures = tmp_path / 'figures.json'
    options = ['--image-size', 128, '--batch-size', 2, '--steps', 1, '--warmup', 0]
    finished = tool('benchmark/detection_step.py', *options, '--json', figures)
    assert finished.code == 0, finished.err
    written = json.loads(figures.read_text())
    plain, muse, exit, full = (count / 2 / 1e6 for count in written['flops'].values())
    # 64 locations of 512 units, forward and twice backward, MI and SI of 256 channels.
    critics = 2 * 3 * 2 * 64 * (256 * 512 + 2 * 512 * 512) / 1e6
    assert muse - plain == pytest.approx(critics, rel=0.05)
    assert full - exit == pytest.approx(critics, rel=0.05)
    # YOLOv5-S at 640 px is published with 17.1 GFLOP forward; three times that in a step, but for
    # the gradient of the image.
    assert plain == pytest.approx(3 * 17100 / 25, rel=0.05)


def test_help_of_every_command_is_measured_beside_python_itself(tool, tmp_path):
    figures = tmp_path / 'figures.json'
    options = ('--help-only', '--repeats', 1, '--json', figures)
    assert tool('benchmark/startup.py', *options).code == 0
    seconds = json.loads(figures.read_text())['seconds']
    assert seconds.keys() == {'python -c pass', *COMMANDS}
    assert min(wall for wall, _ in seconds.values()) > 0


def test_a_start_is_measured_beside_mmpretrains_own_tool(tool, tmp_path):
    figures = tmp_path / 'figures.json'
    options = ('--cases', 'help', '--libraries', 'mmpretrain', '--repeats', 1, '--json', figures)
    assert tool('benchmark/startup.py', *options).code == 0
    theirs, ours, distilled = json.loads(figures.read_text())['medians']
    assert theirs['program'] == 'mmpretrain'
    assert theirs['ratio'] == 1
    for row in (ours, distilled):
        assert row['ratio'] == pytest.approx(row['processor'] / theirs['processor'])


@pytest.mark.parametrize('name', ['classifier', 'distilled', 'detector'])
def test_the_configs_of_the_start_have_their_data(tmp_path, name):
    startup = runpy.run_path(str(ROOT / 'tools' / 'benchmark' / 'startup.py'))
    startup['write_data'](tmp_path)
    config = load_config(str(tmp_path / f'{name}.py'), {})
    init_default_scope(config.default_scope)
    images = startup['IMAGES'] // 2 if name == 'detector' else startup['IMAGES']
    for split in ('train', 'val'):
        data = DATASETS.build(config[f'{split}_dataloader'].dataset)
        assert len(data) == images
        assert 'inputs' in data[0]
