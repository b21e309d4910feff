import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import EMAHook, Hook
from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.runner import Runner

from mmmuse.checkpoints.files import read_file
from mmmuse.datasets import BatchedImages
from mmmuse.errors import InputError, NonFiniteLossError
from mmmuse.registry import MODELS

from ..conftest import TAPS, small_classifier_config

EMA = dict(type='EMAHook', momentum=0.1)
_RUNS = itertools.count()


def student_config(num_classes: int = 5) -> dict:
    return dict(
        small_classifier_config(num_classes, in_channels=1),
        data_preprocessor=dict(type='mmmuse.BatchedDataPreprocessor', mean=[120.0], std=[60.0]),
    )


def distiller_config(student: dict | None = None) -> dict:
    # Every location, so that nothing in a step is drawn.
    muse = dict(type='mmmuse.MUSELoss', critic=dict(hidden_channels=8))
    return dict(
        type='mmmuse.SelfDistiller',
        student=student or student_config(),
        taps=TAPS,
        head=dict(type='mmmuse.MUSEHead', discrepancy=muse),
        neck=dict(type='mmmuse.SelfDistillNeck'),
    )


def loader(shuffle: bool) -> dict:
    draw = np.random.default_rng(0)
    dataset = BatchedImages(
        draw.integers(0, 256, (12, 1, 8, 8), dtype=np.uint8), draw.integers(0, 5, 12), 'abcde'
    )
    return dict(
        dataset=dataset,
        batch_size=4,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=shuffle),
        collate_fn=dict(type='mmmuse.keep_batch'),
    )


def build_runner(
    work_dir: Path, model: dict | None = None, epochs: int = 1, ema: bool = False, **options
) -> Runner:
    """A runner on 12 images of 8x8 pixels, with the hooks of this project's configs."""
    training = dict(
        train_dataloader=loader(shuffle=True),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9)),
        param_scheduler=dict(type='MultiStepLR', milestones=[1], gamma=0.5),
    )
    return Runner(
        **{
            **dict(
                model=model or distiller_config(),
                work_dir=str(work_dir),
                custom_hooks=[dict(type='mmmuse.StudentCheckpointHook'), *([EMA] if ema else [])],
                default_scope='mmpretrain',
                randomness=dict(seed=0),
                log_level='ERROR',
                experiment_name=f'student_checkpoint_{next(_RUNS)}',
                **training,
            ),
            **options,
        }
    )


def train(work_dir: Path, *args, **options) -> tuple[Runner, Path]:
    runner = build_runner(work_dir, *args, **options)
    runner.train()
    return runner, work_dir / f'epoch_{runner.epoch}.pth'


def read(path: Path) -> dict:
    return read_file(str(path))


def averaged(runner: Runner) -> torch.nn.Module:
    (hook,) = (hook for hook in runner.hooks if isinstance(hook, EMAHook))
    return hook.ema_model


def assert_same(found: dict, expected: dict) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


@pytest.fixture(scope='module')
def trained(tmp_path_factory) -> tuple[Runner, Path]:
    return train(tmp_path_factory.mktemp('plain'))


@pytest.fixture(scope='module')
def trained_with_ema(tmp_path_factory) -> tuple[Runner, Path]:
    return train(tmp_path_factory.mktemp('ema'), ema=True)


def test_a_plain_student_loads_the_file_as_it_is(trained):
    runner, path = trained
    plain = MODELS.build(student_config())
    weights = read(path)['state_dict']
    assert list(weights) == list(plain.state_dict())
    plain.load_state_dict(weights)
    assert_same(plain.state_dict(), runner.model.student.state_dict())
    assert weights._metadata == plain.state_dict()._metadata


def test_everything_else_is_under_distiller(trained):
    runner, path = trained
    checkpoint = read(path)
    rest = {
        name: value
        for name, value in runner.model.state_dict().items()
        if not name.startswith('student.')
    }
    assert any('mi_critics' in name for name in rest)
    assert_same(checkpoint['distiller'], rest)


def test_with_an_average_the_file_holds_the_averaged_student(trained_with_ema):
    runner, path = trained_with_ema
    average = averaged(runner).module
    assert_same(read(path)['state_dict'], average.student.state_dict())
    student = runner.model.student.state_dict()
    assert not torch.equal(student['head.fc.weight'], average.student.head.fc.weight)


@pytest.mark.parametrize('ema', [False, True])
def test_resuming_brings_everything_back_bit_for_bit(ema, request, tmp_path):
    runner, path = request.getfixturevalue('trained_with_ema' if ema else 'trained')
    resumed, _ = train(tmp_path, ema=ema, load_from=str(path), resume=True)
    assert resumed.iter == runner.iter == 3
    assert_same(resumed.model.state_dict(), runner.model.state_dict())
    if ema:
        assert_same(averaged(resumed).state_dict(), averaged(runner).state_dict())
    state, expected = (run.optim_wrapper.state_dict() for run in (resumed, runner))
    assert state['param_groups'] == expected['param_groups']
    assert len(expected['state']) == len(list(runner.model.parameters()))
    for index, buffers in expected['state'].items():
        assert torch.equal(state['state'][index]['momentum_buffer'], buffers['momentum_buffer'])


@pytest.mark.parametrize('ema', [False, True])
def test_an_interrupted_run_ends_where_an_uninterrupted_one_does(ema, tmp_path):
    straight, _ = train(tmp_path / 'straight', epochs=2, ema=ema)
    interrupted = str(tmp_path / 'straight' / 'epoch_1.pth')
    resumed, _ = train(tmp_path / 'resumed', epochs=2, ema=ema, load_from=interrupted, resume=True)
    assert_same(resumed.model.state_dict(), straight.model.state_dict())
    if ema:
        assert_same(averaged(resumed).state_dict(), averaged(straight).state_dict())


@pytest.mark.parametrize('scope', ['mmengine', 'mmpretrain'])
def test_a_plain_run_with_an_average_reads_the_file(scope, tmp_path):
    ema = dict(EMA, type=f'{scope}.EMAHook')
    hooks = [dict(type='mmmuse.StudentCheckpointHook'), ema]
    runner, path = train(tmp_path / 'distilled', custom_hooks=hooks)
    weights, average = runner.model.student.state_dict(), averaged(runner)
    content = read(path)
    assert_same(content['state_dict'], average.module.student.state_dict())
    in_file = {f'module.{name}': value for name, value in weights.items()}
    assert_same(content['ema_state_dict'], in_file | dict(steps=average.steps))
    others = {k: v for k, v in runner.model.state_dict().items() if not k.startswith('student.')}
    assert_same(content['distiller_ema'], others)

    plain = evaluation_runner(tmp_path / 'plain', student_config(), path, custom_hooks=[ema])
    found = plain.test()
    assert_same(averaged(plain).module.state_dict(), average.module.student.state_dict())
    distilled = evaluation_runner(
        tmp_path / 'again', distiller_config(), path, custom_hooks=hooks
    ).test()
    assert found == {'accuracy/top1': distilled['accuracy/top1']}
    resumed, _ = train(tmp_path / 'on', custom_hooks=hooks, load_from=str(path), resume=True)
    assert_same(resumed.model.state_dict(), runner.model.state_dict())
    assert_same(averaged(resumed).state_dict(), average.state_dict())


@pytest.mark.parametrize('scope', ['mmengine', 'mmpretrain'])
def test_a_distiller_starts_from_the_averages_of_a_plain_run(scope, tmp_path):
    ema = dict(EMA, type=f'{scope}.EMAHook')
    _, path = train(tmp_path / 'plain', student_config(), custom_hooks=[ema])
    hooks = [dict(type='mmmuse.StudentCheckpointHook'), ema]
    runner = build_runner(tmp_path / 'distilled', custom_hooks=hooks, load_from=str(path))
    runner.train_loop.run = lambda: [hook.before_train(runner) for hook in runner.hooks]
    runner.train()
    for model in (runner.model, averaged(runner).module):
        assert_same(model.student.state_dict(), read(path)['state_dict'])
    tested = evaluation_runner(
        tmp_path / 'test',
        distiller_config(),
        path,
        custom_hooks=hooks,
        test_evaluator=dict(type='Accuracy'),
    ).test()
    assert tested['accuracy/top1'] >= 0


def test_resuming_from_a_student_alone_is_refused(trained, tmp_path):
    checkpoint = read(trained[1])
    del checkpoint['distiller']
    torch.save(checkpoint, tmp_path / 'student.pth')
    with pytest.raises(InputError, match=r"holds only the student's weights.*load_from"):
        train(tmp_path, load_from=str(tmp_path / 'student.pth'), resume=True)


def test_resuming_from_another_network_names_the_tensors(trained, tmp_path):
    other = distiller_config(student_config(num_classes=7))
    with pytest.raises(InputError) as error:
        train(tmp_path, other, load_from=str(trained[1]), resume=True)
    assert str(error.value) == (
        f'{trained[1]} is of another network; these tensors differ: '
        'head.fc.bias ((7,) in the model, (5,) in the file); '
        'head.fc.weight ((7, 64) in the model, (5, 64) in the file)'
    )


def test_resuming_with_other_critics_names_the_tensors(trained, tmp_path):
    other = distiller_config()
    other['head']['discrepancy']['critic']['hidden_channels'] = 9
    other['head']['kd_weight'] = 0.0
    with pytest.raises(InputError) as error:
        train(tmp_path, other, load_from=str(trained[1]), resume=True)
    name = 'muse.discrepancies.0.mi_critics.0.pair_score.global_projection.weight'
    assert str(error.value).startswith(
        f'{trained[1]} is of another neck or head; these tensors differ: '
        f'{name} ((9, 64) in the model, (8, 64) in the file); '
    )


def test_resuming_with_more_or_less_of_a_head_is_refused(trained, tmp_path):
    less = distiller_config()
    less['head']['discrepancy']['combine'] = 'mi'
    with pytest.raises(InputError, match=r'si_critics.* \(missing in the model, \('):
        train(tmp_path, less, load_from=str(trained[1]), resume=True)


def test_training_starts_from_a_students_weights(trained, tmp_path):
    plain = MODELS.build(student_config())
    torch.save(plain.state_dict(), tmp_path / 'plain.pth')
    runner = build_runner(tmp_path, load_from=str(tmp_path / 'plain.pth'))
    runner.train_loop.run = lambda: runner.model
    runner.train()
    assert_same(runner.model.student.state_dict(), plain.state_dict())


def test_a_pending_check_of_a_loss_runs_before_a_file_is_written(tmp_path):
    runner = build_runner(tmp_path)

    class Diverge(Hook):
        """Leaves the losses of the epoch's last step unchecked, as a GPU's are until the next."""

        def after_train_iter(self, runner, batch_idx, *args, **kwargs):
            if batch_idx == 2:
                runner.model._unchecked = (['loss_muse'], torch.tensor([float('nan')]))

    runner.register_hook(Diverge())
    with pytest.raises(NonFiniteLossError, match='loss_muse = nan'):
        runner.train()
    assert not list(tmp_path.glob('*.pth'))


def test_a_plain_model_is_saved_and_resumed_as_without_the_hook(tmp_path):
    runner, path = train(tmp_path / 'first', student_config())
    checkpoint = read(path)
    assert 'distiller' not in checkpoint
    assert_same(checkpoint['state_dict'], runner.model.state_dict())
    resumed, _ = train(tmp_path / 'second', student_config(), load_from=str(path), resume=True)
    assert_same(resumed.model.state_dict(), runner.model.state_dict())


def evaluation_runner(work_dir: Path, model: dict, path: Path, **options) -> Runner:
    testing = dict(
        load_from=str(path),
        test_dataloader=loader(shuffle=False),
        test_cfg={},
        test_evaluator=[dict(type='Accuracy'), dict(type='mmmuse.ExitAccuracy')],
        train_dataloader=None,
        train_cfg=None,
        optim_wrapper=None,
        param_scheduler=None,
    )
    return build_runner(work_dir, model, **{**testing, **options})


def evaluate(work_dir: Path, model: dict, path: Path) -> dict:
    return evaluation_runner(work_dir, model, path).test()


def test_a_file_is_tested_as_distiller_and_as_plain_student(trained, tmp_path):
    _, path = trained
    as_distiller = evaluate(tmp_path, distiller_config(), path)
    as_student = evaluate(tmp_path, student_config(), path)
    assert set(as_distiller) == {'accuracy/top1', *(f'exit{i}/top1' for i in (1, 2, 3, 4))}
    assert as_distiller['exit4/top1'] == pytest.approx(as_distiller['accuracy/top1'])
    assert as_student == {'accuracy/top1': as_distiller['accuracy/top1']}


def test_testing_another_networks_file_names_the_tensors(trained, tmp_path):
    with pytest.raises(InputError, match=r'head\.fc\.bias \(\(7,\) in the model'):
        evaluate(tmp_path, distiller_config(student_config(num_classes=7)), trained[1])


def test_the_average_of_a_trained_distiller_predicts_with_its_exits(trained_with_ema):
    runner, _ = trained_with_ema
    average = averaged(runner).module.eval()
    samples = average(torch.randn(2, 1, 8, 8), mode='predict')
    assert all('exit_scores' in sample for sample in samples)


def test_the_plain_config_of_the_student_is_beside_the_checkpoints(tmp_path):
    config = Config(dict(model=distiller_config(), train_cfg=dict(by_epoch=True, max_epochs=1)))
    runner = build_runner(tmp_path / 'run', cfg=config)
    runner.train()
    found = Config.fromfile(tmp_path / 'run' / 'student.py')
    assert found.model.backbone == student_config()['backbone']
    assert found.train_cfg.max_epochs == 1
    plain = MODELS.build(found.model)
    plain.load_state_dict(read(tmp_path / 'run' / 'epoch_1.pth')['state_dict'])
    assert_same(plain.state_dict(), runner.model.student.state_dict())


def test_it_goes_to_the_folder_of_the_checkpoints_too(tmp_path):
    checkpoint = dict(type='CheckpointHook', out_dir=str(tmp_path / 'other'))
    runner = build_runner(
        tmp_path / 'run',
        cfg=Config(dict(model=distiller_config())),
        default_hooks=dict(checkpoint=checkpoint),
    )
    runner.train()
    folders = {path.parent for path in tmp_path.rglob('student.py')}
    assert folders == {tmp_path / 'run', tmp_path / 'other' / 'run'}


def test_there_is_none_before_the_first_checkpoint(tmp_path):
    class Stop(Hook):
        def before_train_iter(self, *args, **kwargs):
            raise RuntimeError('stop')

    runner = build_runner(tmp_path / 'run', cfg=Config(dict(model=distiller_config())))
    runner.register_hook(Stop())
    with pytest.raises(RuntimeError, match='stop'):
        runner.train()
    assert not (tmp_path / 'run' / 'student.py').exists()


def test_a_constructor_that_reads_plain_names_is_refused_before_training(tmp_path):
    class ReadsNames(DefaultOptimWrapperConstructor):
        pass

    OPTIM_WRAPPER_CONSTRUCTORS.register_module(module=ReadsNames, force=True)
    optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1), constructor='ReadsNames')
    runner = build_runner(
        tmp_path / 'run', cfg=Config(dict(optim_wrapper=optim_wrapper)), optim_wrapper=optim_wrapper
    )
    with pytest.raises(InputError, match=r"constructor 'ReadsNames' reads parameter names such as"):
        runner.train()


def test_each_peers_file_is_loaded_by_the_peers_config(tmp_path):
    wide = dict(student_config(), backbone=dict(student_config()['backbone'], base_channels=4))
    wide['head'] = dict(wide['head'], in_channels=32)
    peers = dict(
        a=dict(model=student_config(), taps=TAPS),
        b=dict(model=wide, taps=TAPS),
    )
    model = dict(type='mmmuse.OnlineDistiller', peers=peers, losses=[dict(type='mmmuse.KDLoss')])
    hooks = [dict(type='mmmuse.StudentCheckpointHook'), dict(type='mmmuse.PeerCheckpointHook')]
    runner = build_runner(tmp_path, model=model, cfg=Config(dict(model=model)), custom_hooks=hooks)
    runner.train()
    for name, network in runner.model.networks.items():
        plain = MODELS.build(Config.fromfile(tmp_path / f'student.{name}.py').model)
        plain.load_state_dict(read(tmp_path / f'epoch_1.{name}.pth')['state_dict'])
        assert_same(plain.state_dict(), network.state_dict())
