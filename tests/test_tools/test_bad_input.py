"""Bad input gets one clear line and a nonzero exit; nothing is written or lost."""

from pathlib import Path

import pytest
import torch

from tests.test_tools.test_train import BASELINE, DISTILLED, SHORT


def train(tool, work_dir, *options, config=DISTILLED, flags=()):
    return tool(
        'train.py', config, '--work-dir', work_dir, *flags, '--cfg-options', *SHORT, *options
    )


@pytest.mark.parametrize(('options', 'said'), [
    (["model.taps.last=backbone.layer5"], "no module 'backbone.layer5'; nearest: 'backbone.layer"),
    (["model.taps.modules=[backbone.layer1,backbone.layer1]"],
     "module 'backbone.layer1' is tapped twice"),
    (["model.taps.modules=[head.loss_module]"], "'head.loss_module' was not reached"),
    (["model.taps.modules=[backbone.bn1]"],
     "'backbone.bn1' was changed in place"),
    (["model.neck.in_channels=[16,32]"], 'neck.in_channels is [16, 32]'),
    (["model.head.local_channels=[16,32]"], 'head.local_channels is [16, 32]'),
    (["model.head.discrepancy.combine=product"],
     'combine is one of multiplicative, additive, mi, si'),
    (["train_dataloader.batch_size=1"], 'a batch needs at least 2 images, got 1'),
    (["train_dataloader.dataset.indices=0"], 'the dataset holds no image'),
    (["model.head.discrepanzy.type=mmmuse.MUSELoss"],
     "MUSEHead does not read the key 'discrepanzy'"),
    (["tarin_cfg.max_epochs=3"], "nothing reads the config key 'tarin_cfg'; did you mean 'train_cfg'"),
    (["env_cfg.cudnn_bench=True"], "nothing reads the config key 'env_cfg.cudnn_bench'"),
    (["train_cfg.max_epoch=3"], "EpochBasedTrainLoop does not read the key 'max_epoch'"),
    (["model.head.type=mmmuse.MuseHead"], 'mmmuse.MuseHead is not in the'),
    (["model.student.head.loss.loss_weight=2"], "a part has no type: {'loss_weight': 2}"),
    (["model.taps.depth=4"], 'taps has keys that nothing reads: depth'),
])  # yapf: disable
def test_bad_config_is_refused_and_nothing_is_written(tool, only_error, tmp_path, options, said):
    line = only_error(train(tool, tmp_path / 'deep' / 'run', *options))
    assert said in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('key', ['my_lr', 'custom_hook'])
def test_a_key_of_the_config_file_that_nothing_reads_is_refused(tool, only_error, tmp_path, key):
    config = tmp_path / 'config.py'
    config.write_text(f'_base_ = {str(Path(DISTILLED).resolve())!r}\n{key} = [1]\n')
    line = only_error(tool('train.py', config, '--work-dir', tmp_path / 'run'))
    assert f'nothing reads the config key {key!r}' in line
    assert list(tmp_path.iterdir()) == [config]


def test_a_variable_that_the_config_file_uses_is_accepted(tool, tmp_path):
    config = tmp_path / 'config.py'
    config.write_text(
        f'_base_ = {str(Path(BASELINE).resolve())!r}\n'
        'my_lr = 0.01\noptim_wrapper = dict(optimizer=dict(lr=my_lr))\n'
    )
    finished = train(tool, tmp_path / 'run', 'train_cfg.max_epochs=1', config=config)
    assert finished.code == 0, finished.err


def test_a_missing_config_is_named(tool, only_error):
    assert 'no config file configs/nowhere.py' in only_error(tool('train.py', 'configs/nowhere.py'))


def test_nan_names_the_term_and_keeps_the_last_good_checkpoint(tool, only_error, tmp_path):
    work_dir = tmp_path / 'run'
    assert train(tool, work_dir, 'train_cfg.max_epochs=1').code == 0
    good = (work_dir / 'epoch_1.pth').read_bytes()
    loss = 'model.student.head.loss'
    exploding = (f'{loss}.type=CrossEntropyLoss', f'{loss}.loss_weight=1e39')
    line = only_error(train(tool, work_dir, *exploding, flags=['--resume']))
    assert line.startswith('error: the loss is not finite: loss_student = inf, exit1.loss_ce = inf')
    assert (work_dir / 'epoch_1.pth').read_bytes() == good
    assert (work_dir / 'last_checkpoint').read_text() == str(work_dir / 'epoch_1.pth')
    assert not list(work_dir.glob('epoch_[23].pth'))


def test_a_truncated_checkpoint_is_refused_on_resume_and_left_alone(tool, only_error, tmp_path):
    work_dir = tmp_path / 'run'
    assert train(tool, work_dir, 'train_cfg.max_epochs=1').code == 0
    checkpoint = work_dir / 'epoch_1.pth'
    checkpoint.write_bytes(checkpoint.read_bytes()[:20000])
    before = sorted(work_dir.rglob('*'))
    line = only_error(train(tool, work_dir, flags=['--resume']))
    assert f'{checkpoint} is truncated' in line
    assert sorted(work_dir.rglob('*')) == before
    assert checkpoint.stat().st_size == 20000


def test_a_checkpoint_that_would_run_code_is_refused_unless_trusted(tool, only_error, tmp_path):
    path = tmp_path / 'weights.pth'
    torch.save(dict(state_dict={}, where=Path('x')), path)
    assert '--trust-checkpoint' in only_error(
        tool('test.py', DISTILLED, path, '--work-dir', tmp_path / 'run')
    )
    trusted = tool('test.py', DISTILLED, path, '--work-dir', tmp_path / 'run', '--trust-checkpoint')
    assert 'of another network' in only_error(trusted)


@pytest.mark.parametrize('content', [b'', b'<html>404 Not Found</html>', b'\x80\x02}q\x00(X\x0a'])
def test_a_file_that_is_no_checkpoint_is_not_to_be_trusted(tool, only_error, tmp_path, content):
    path = tmp_path / 'weights.pth'
    path.write_bytes(content)
    line = only_error(tool('test.py', DISTILLED, path, '--work-dir', tmp_path / 'run'))
    assert 'is truncated or no checkpoint' in line
    assert 'trust' not in line


def test_a_file_without_tensors_is_no_checkpoint(tool, only_error, tmp_path):
    path = tmp_path / 'weights.pth'
    torch.save({'a': 1}, path)
    line = only_error(tool('test.py', DISTILLED, path, '--work-dir', tmp_path / 'run'))
    assert 'holds no state_dict of tensors' in line


def test_a_checkpoint_of_another_network_names_its_tensors(tool, only_error, tmp_path):
    path = tmp_path / 'weights.pth'
    torch.save(dict(state_dict={'backbone.conv1.weight': torch.zeros(3)}), path)
    line = only_error(tool('test.py', DISTILLED, path, '--work-dir', tmp_path / 'run'))
    assert 'backbone.bn1.bias ((16,) in the model, missing in the file)' in line
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_checkpoint_is_named(tool, only_error, tmp_path):
    line = only_error(tool('test.py', DISTILLED, tmp_path / 'none.pth'))
    assert f'no checkpoint file {tmp_path / "none.pth"}' in line


@pytest.mark.parametrize(
    'config',
    ['muse/resnet18_cifar100_mi_x_si', 'examples/resnet18_cifar100_mi_x_si_per_sample'],
)
def test_missing_cifar_says_what_to_put_where(tool, only_error, tmp_path, config):
    line = only_error(
        tool(
            'train.py',
            f'configs/{config}.py',
            '--work-dir',
            tmp_path / 'run',
            '--cfg-options',
            f'train_dataloader.dataset.data_root={tmp_path}/data',
            'train_dataloader.dataset.download=False',
        )
    )
    assert f'CIFAR100 is not in {tmp_path}/data' in line
    assert 'unpack cifar-100-python.tar.gz there' in line
    assert list(tmp_path.iterdir()) == []
