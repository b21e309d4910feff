"""Bad input gets one clear line and a nonzero exit; nothing is written or lost."""

import time
from pathlib import Path

import mmpretrain
import pytest
import torch

from mmmuse.command_line.config import load_config

from .conftest import copy_run, run_command
from .test_train import BASELINE, DISTILLED, SHORT


def train(tool, work_dir, *options, config=DISTILLED, flags=()):
    return tool(
        'train.py', config, '--work-dir', work_dir, *flags, '--cfg-options', *SHORT, *options
    )


@pytest.fixture(scope='module')
def trained(tmp_path_factory) -> Path:
    """The work dir of one epoch; tests take a copy."""
    work_dir = tmp_path_factory.mktemp('trained') / 'run'
    options = [*SHORT, 'train_cfg.max_epochs=1']
    flags = ['--work-dir', work_dir, '--cfg-options', *options]
    assert run_command('train.py', DISTILLED, *flags) == 0
    return work_dir


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
    (["train_dataloader.dataset.indices=0"], 'the dataset has no images'),
    (["model.head.discrepanzy.type=mmmuse.MUSELoss"],
     "config: model.head: MUSEHead does not read the key 'discrepanzy'; did you mean 'discrepancy'?"),
    (["model.head.discrepancy.critic.hiden_channels=64"],
     "config: model.head.discrepancy.critic: GlobalLocalCritic does not read the key 'hiden_channels'; "
     "did you mean 'hidden_channels'?"),
    (["optim_wrapper.optimizer.learning_rate=0.1"],
     "config: optim_wrapper.optimizer: SGD does not read the key 'learning_rate'; it reads lr, momentum, "),
    (["optim_wrapper.optimizer.type=SDG"],
     "optim_wrapper.optimizer.type: unknown optimizer 'SDG'; did you mean 'SGD'?"),
    (["model.student.backbone.type=ResNett"],
     "config: model.student.backbone.type: ResNett is not in the mmpretrain::model registry; "
     "did you mean 'ResNet'?"),
    (["param_scheduler.type=CosineAnealingLR"],
     "config: param_scheduler.type: CosineAnealingLR is not in the parameter scheduler registry; "
     "did you mean 'CosineAnnealingLR'?"),
    (["model.type=SelfDistilller"],
     "config: model.type: SelfDistilller is not in the mmpretrain::model registry; "
     "did you mean 'mmmuse.SelfDistiller'?"),
    (["tarin_cfg.max_epochs=3"], "unknown config key 'tarin_cfg'; did you mean 'train_cfg'"),
    (["default_hooks.checkpoint.max_keep_ckpt=2"],
     "unknown config key 'default_hooks.checkpoint.max_keep_ckpt'; "
     "did you mean 'max_keep_ckpts'"),
    (["model.head.kd_weight=0", "model.head.kd.temperatur=4"],
     "KDLoss does not read the key 'temperatur'"),
    (["model.head.kd_weight=0", "model.head.ce_weight=0", "model.neck.reductoin=4"],
     "SelfDistillNeck does not read the key 'reductoin'"),
    (["test_cfg.foo=1"], "unknown config key 'test_cfg.foo'"),
    (["test_dataloader.batchsize=1"],
     "unknown config key 'test_dataloader.batchsize'; did you mean 'batch_size'"),
    (["train_dataloader.dataset.indices=129", "train_dataloader.drop_last=False"],
     'the last batch of an epoch has 1 image'),
    (["runner_type=FlexibleRunner"], "a distiller is trained by MMEngine's Runner"),
    (["log_processor.foo=3"], "LogProcessor does not read the key 'foo'"),
    (["optim_wrapper.type=AmpOptimWrapper"], 'AmpOptimWrapper needs a GPU; pass --amp'),
    (["model.head.discrepancy=None", "train_dataloader.batch_size=1"],
     'a batch of one image cannot be normalised'),
    (["default_hooks.channels_last=mmmuse.ChannelsLastHook"],
     "default_hooks.channels_last is None, a built Hook or a dict, got 'mmmuse.ChannelsLastHook' (str); "
     "write default_hooks.channels_last.type=mmmuse.ChannelsLastHook"),
    (["model.head.discrepancy.estimator=mmmuse.InfoNCE"],
     "model.head.discrepancy.estimator is None or a dict, got 'mmmuse.InfoNCE' (str); "
     "write model.head.discrepancy.estimator.type=mmmuse.InfoNCE"),
    (["env_cfg.cudnn_bench=True"], "unknown config key 'env_cfg.cudnn_bench'"),
    (["train_cfg.max_epoch=3"],
     "train_cfg: EpochBasedTrainLoop does not read the key 'max_epoch'; did you mean 'max_epochs'?"),
    (["model.head.type=mmmuse.MuseHead"], 'mmmuse.MuseHead is not in the'),
    (["model.student.head.loss.loss_weight=2"], "a part has no type: {'loss_weight': 2}"),
    (["model.head.discrepancy.type=mmmuse.Wasserstein"],
     "unknown loss within one network 'mmmuse.Wasserstein'; available: mmmuse.AdversarialLoss, "
     "mmmuse.AttentionTransferLoss, mmmuse.FitNetLoss, mmmuse.HintLoss"),
    (["model.head.discrepancy.type=mmmuse.KDLoss"],
     'KDLoss compares two networks; within one network choose another loss: '
     'mmmuse.AdversarialLoss, '),
    (["model.taps.depth=4"], 'taps: unknown keys depth'),
    (["model.head=mi_si"], "unknown variant 'mi_si'; available: mi_x_si, mi_plus_si, byot, ce, "),
])  # yapf: disable
def test_bad_config_is_refused_and_nothing_is_written(tool, only_error, tmp_path, options, said):
    line = only_error(train(tool, tmp_path / 'deep' / 'run', *options))
    assert said in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ('key', 'line'),
    [
        ('custom_hook', 'custom_hook = [1]'),
        ('tarin_cfg', 'tarin_cfg, other = 1, 2'),
        ('tarin_cfg', 'if True:\n    tarin_cfg = 1'),
    ],
)
@pytest.mark.parametrize('in_base', [False, True])
def test_a_mistyped_key_of_a_config_file_is_refused(tool, only_error, tmp_path, key, line, in_base):
    config, own_base = tmp_path / 'config.py', tmp_path / 'base.py'
    shipped = f'_base_ = {str(Path(DISTILLED).resolve())!r}\n'
    (own_base if in_base else config).write_text(f'{shipped}{line}\n')
    if in_base:
        config.write_text("_base_ = ['base.py']\n")
    before = sorted(tmp_path.iterdir())
    said = only_error(tool('train.py', config, '--work-dir', tmp_path / 'run'))
    assert f"unknown config key '{key}'; did you mean" in said
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    'name',
    ['hornet/hornet-small-gf_8xb64_in1k.py', 'efficientnet_v2/efficientnetv2-b0_8xb32_in1k.py'],
)
def test_configs_of_installed_packages_are_taken_as_they_are(name):
    path = Path(mmpretrain.__file__).parent / '.mim' / 'configs' / name
    assert load_config(str(path), {}).model.type == 'ImageClassifier'


def test_keys_of_a_test_loop_of_ones_own_are_its_own_affair(tmp_path):
    config = tmp_path / 'config.py'
    config.write_text("test_cfg = dict(type='MyLoop', foo=1)\nval_dataloader = [dict(a=1)]\n")
    assert load_config(str(config), {}).test_cfg.foo == 1


def test_a_variable_of_a_base_file_that_its_child_uses_is_accepted(tmp_path):
    (tmp_path / 'base.py').write_text('width = 3\nspare = 4\n')
    child = tmp_path / 'child.py'
    child.write_text("_base_ = 'base.py'\nmodel = dict(a=_base_.width, b={{_base_.spare}})\n")
    assert load_config(str(child), {}).model == dict(a=3, b=4)


def test_a_run_that_fails_leaves_an_earlier_ones_config_as_it_was(
    tool, only_error, trained, tmp_path
):
    work_dir = copy_run(trained, tmp_path / 'run')
    before = {path: path.read_bytes() for path in work_dir.rglob('*') if path.is_file()}
    time.sleep(1)  # MMEngine names a run's folder after the second.
    only_error(train(tool, work_dir, 'train_dataloader.batch_size=1'))
    assert {path: path.read_bytes() for path in work_dir.rglob('*') if path.is_file()} == before


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def own_config(folder: Path, name: str = 'own.py') -> Path:
    config = folder / name
    config.write_text(f'_base_ = {str(Path(DISTILLED).resolve())!r}  # Mine.\n')
    return config


def test_a_config_is_not_overwritten_in_its_own_folder(tool, only_error, tmp_path):
    config = own_config(tmp_path)
    before = contents(tmp_path)
    line = only_error(tool('train.py', config, '--work-dir', tmp_path))
    assert f'{config} exists and is not the complete config of an earlier run' in line
    assert contents(tmp_path) == before


def test_a_test_in_the_folder_of_a_config_leaves_it_as_it_is(tool, trained, tmp_path):
    config = own_config(tmp_path)
    before = config.read_bytes()
    finished = tool('test.py', config, trained / 'epoch_1.pth', '--work-dir', tmp_path)
    assert finished.code == 0, finished.err
    assert config.read_bytes() == before


@pytest.mark.parametrize('distilled', [True, False])
def test_a_file_named_student_is_overwritten_by_no_distilled_run(
    tool, only_error, tmp_path, distilled
):
    config = own_config(tmp_path) if distilled else BASELINE
    run = tmp_path / 'run'
    run.mkdir()
    (run / 'student.py').write_text('model = dict()  # Mine.\n')
    before = contents(tmp_path)
    finished = train(tool, run, 'train_cfg.max_epochs=1', config=config)
    if distilled:
        assert f'config over {run / "student.py"}, which no run has written' in only_error(finished)
        assert contents(tmp_path) == before
    else:
        assert finished.code == 0, finished.err
        assert before.items() <= contents(tmp_path).items()


def test_a_distilled_config_has_another_name_than_the_file_of_the_student(
    tool, only_error, tmp_path
):
    config = own_config(tmp_path, 'student.py')
    line = only_error(train(tool, tmp_path / 'run', config=config))
    assert 'plain config as student.py, and its own config has that name' in line
    assert list(tmp_path.iterdir()) == [config]


def test_a_work_dir_that_is_a_file_is_named(tool, only_error, tmp_path):
    (tmp_path / 'run').write_text('mine')
    said = only_error(train(tool, tmp_path / 'run'))
    assert f'--work-dir {tmp_path / "run"} is a file; name a folder' in said
    assert (tmp_path / 'run').read_text() == 'mine'


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


def test_nan_names_the_term_and_keeps_the_last_good_checkpoint(tool, only_error, trained, tmp_path):
    work_dir = copy_run(trained, tmp_path / 'run')
    good = (work_dir / 'epoch_1.pth').read_bytes()
    loss = 'model.student.head.loss'
    exploding = (f'{loss}.type=CrossEntropyLoss', f'{loss}.loss_weight=1e39')
    line = only_error(train(tool, work_dir, *exploding, flags=['--resume']))
    assert line.startswith('error: the loss is not finite: loss_student = inf, exit1.loss_ce = inf')
    assert (work_dir / 'epoch_1.pth').read_bytes() == good
    assert (work_dir / 'last_checkpoint').read_text() == str(work_dir / 'epoch_1.pth')
    assert not list(work_dir.glob('epoch_[23].pth'))


def test_a_truncated_checkpoint_is_refused_on_resume_and_left_alone(
    tool, only_error, trained, tmp_path
):
    work_dir = copy_run(trained, tmp_path / 'run')
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
    assert 'is truncated or not a checkpoint' in line
    assert 'trust' not in line


def test_a_file_without_tensors_is_no_checkpoint(tool, only_error, tmp_path):
    path = tmp_path / 'weights.pth'
    torch.save({'a': 1}, path)
    line = only_error(tool('test.py', DISTILLED, path, '--work-dir', tmp_path / 'run'))
    assert 'has no state_dict of tensors' in line


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
