"""A checkpoint that does not fit is refused before training or testing starts from it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmmuse.checkpoints.files import read_checkpoint
from mmmuse.command_line.checkpoint import check_before_loading
from mmmuse.errors import InputError

from .test_student_checkpoint import build_runner, distiller_config, student_config

CHECKED = [dict(type='mmmuse.CheckedCheckpointHook')]
KINDS = {
    'plain': (student_config, CHECKED),
    'distiller': (distiller_config, [dict(type='mmmuse.StudentCheckpointHook')]),
}


@pytest.fixture(scope='module')
def trained(tmp_path_factory) -> dict[str, Path]:
    files = {}
    for kind, (model, hooks) in KINDS.items():
        folder = tmp_path_factory.mktemp(kind)
        build_runner(folder, model=model(), custom_hooks=hooks).train()
        files[kind] = folder / 'epoch_1.pth'
    return files


def start(kind: str, path: Path, resume: bool, epochs: int = 2, **options):
    model, hooks = KINDS[kind]
    runner = build_runner(
        path.parent / 'run',
        model=model(),
        custom_hooks=hooks,
        load_from=str(path),
        resume=resume,
        epochs=epochs,
        **options,
    )
    runner.train()
    return runner


def changed(path: Path, folder: Path, change: Callable[[dict], object]) -> Path:
    content = read_checkpoint(str(path))
    change(content)
    torch.save(content, folder / 'changed.pth')
    return folder / 'changed.pth'


def number(key: str, value: object) -> Callable[[dict], object]:
    return lambda content: content['meta'].update({key: value})


def convert(part: str, dtype: torch.dtype) -> Callable[[dict], object]:
    def change(content: dict) -> None:
        content[part] = {
            name: value.to(dtype) if value.is_floating_point() else value
            for name, value in content[part].items()
        }

    return change


def without(key: str) -> Callable[[dict], object]:
    return lambda content: content.pop(key)


def fewer_parameters(content: dict) -> None:
    content['optimizer']['param_groups'][0]['params'].pop()


RESUMED = {
    'epoch -5': (number('epoch', -5), 'its epoch is -5, not a whole number from 0'),
    'epoch nan': (number('epoch', float('nan')), 'its epoch is nan, not a whole number'),
    'epoch 1.0': (number('epoch', 1.0), r'its epoch is 1\.0, not a whole number'),
    'epoch True': (number('epoch', True), 'its epoch is True, not a whole number'),
    'epoch 1e9': (number('epoch', 10**9), 'is of epoch 1000000000, and the run ends at 2'),
    'no epoch': (lambda c: c['meta'].pop('epoch'), 'its epoch is None'),
    'iter -1': (number('iter', -1), 'its iter is -1'),
    'iter of text': (number('iter', '3'), "its iter is '3'"),
    'no iter': (lambda c: c['meta'].pop('iter'), 'its iter is None'),
    'seed -1': (number('seed', -1), 'its seed is -1'),
    'no meta': (without('meta'), 'it has no meta;'),
    'meta of text': (lambda c: c.update(meta='a'), 'its meta is a str, not a dict'),
    'classes of numbers': (
        number('dataset_meta', dict(classes=[1, 2])),
        'without a list of class names',
    ),
    'dataset_meta of text': (number('dataset_meta', 'a'), 'without a list of class names'),
    'no message_hub': (without('message_hub'), 'it has no message_hub;'),
    'message_hub without scalars': (
        lambda c: c['message_hub'].pop('log_scalars'),
        'its message_hub has no log_scalars',
    ),
    'no optimizer': (without('optimizer'), 'it has no optimizer;'),
    'optimizer of text': (lambda c: c.update(optimizer='a'), 'its optimizer is a str'),
    'optimizer without groups': (
        lambda c: c['optimizer'].pop('param_groups'),
        'has no state and param_groups',
    ),
    'optimizer of fewer parameters': (fewer_parameters, 'an optimizer of another model or config'),
    'schedulers of text': (lambda c: c.update(param_schedulers='a'), 'param_schedulers is a str'),
    'gradients of text': (lambda c: c.update(gradients='a'), "its 'gradients' is not a dict of real tensors by name"),
    'a gradient of text': (lambda c: c.update(gradients={'a': 'b'}), 'is not a dict of real tensors by name'),
    'sums of text': (lambda c: c.update(information='a'), "its 'information' is not"),
    'a sum of no steps': (lambda c: c.update(information={'a': (1.0, 0)}), "'information' is not"),
    'a sum of text': (lambda c: c.update(information={'a': ('b', 1)}), "'information' is not"),
    'a sum without a name': (lambda c: c.update(information={1: (1.0, 1)}), "'information' is not"),
    'integer weights': (convert('state_dict', torch.int64), 'integer'),
    'complex weights': (convert('state_dict', torch.complex64), 'complex'),
    'no weights': (lambda c: c['state_dict'].clear(), 'its state_dict is empty'),
    'a weight less': (lambda c: c['state_dict'].pop('backbone.conv1.weight'), 'backbone.conv1'),
}  # fmt: skip


@pytest.mark.parametrize('name', RESUMED)
@pytest.mark.parametrize('kind', KINDS)
def test_a_file_that_cannot_be_resumed_from_is_refused(kind, name, trained, tmp_path):
    change, said = RESUMED[name]
    path = changed(trained[kind], tmp_path, change)
    with pytest.raises(InputError, match=said):
        start(kind, path, resume=True)
    assert not list(tmp_path.glob('run/epoch_*.pth'))


@pytest.mark.parametrize('name', [name for name in RESUMED if name.startswith(('no ', 'epoch -'))])
def test_the_command_line_refuses_it_before_the_run_is_built(name, trained, tmp_path):
    path = changed(trained['plain'], tmp_path, RESUMED[name][0])
    with pytest.raises(InputError, match=f'^{path}'):
        check_before_loading(Config(dict(load_from=str(path), resume=True)), False)


@pytest.mark.parametrize('kind', KINDS)
def test_a_good_file_is_resumed_and_tested(kind, trained, tmp_path):
    path = changed(trained[kind], tmp_path, lambda content: None)
    assert start(kind, path, resume=True).epoch == 2


def test_of_a_distiller_the_other_weights_are_checked_as_well(trained, tmp_path):
    path = changed(trained['distiller'], tmp_path, convert('distiller', torch.int64))
    with pytest.raises(InputError, match=r'of another neck or head; .* integer in the file'):
        start('distiller', path, resume=True)


def test_averaged_weights_have_the_kind_of_the_others(trained, tmp_path):
    def add(content: dict) -> None:
        content['ema_state_dict'] = {
            f'module.{name}': value.to(torch.complex64) if value.is_floating_point() else value
            for name, value in content['state_dict'].items()
        }

    path = changed(trained['plain'], tmp_path, add)
    with pytest.raises(InputError, match='ema_state_dict is complex, and floating in its'):
        start('plain', path, resume=True)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize(
    ('weights', 'said'),
    [
        ({}, 'has no weights'),
        ({'other.weight': torch.zeros(3)}, r'other\.weight|of another network'),
        ({'backbone.conv1.weight': torch.zeros(1)}, 'of another network'),
    ],
)
def test_training_does_not_start_from_a_file_without_a_weight_of_the_model(
    kind, weights, said, tmp_path
):
    torch.save(dict(state_dict=weights, meta={}), tmp_path / 'a.pth')
    with pytest.raises(InputError, match=said):
        start(kind, tmp_path / 'a.pth', resume=False)


@pytest.mark.parametrize('kind', KINDS)
def test_training_may_start_from_some_of_the_weights(kind, trained, tmp_path):
    path = changed(
        trained[kind], tmp_path, lambda content: content['state_dict'].pop('head.fc.weight')
    )
    assert start(kind, path, resume=False, epochs=1).epoch == 1


def run_test(path: Path, model: dict) -> None:
    runner = build_runner(
        path.parent / 'run',
        model=model,
        custom_hooks=CHECKED,
        load_from=str(path),
        train_dataloader=None,
        train_cfg=None,
        optim_wrapper=None,
        param_scheduler=None,
    )
    runner.load_or_resume()


def test_a_network_that_averages_over_views_loads_the_files_of_its_module(trained, tmp_path):
    model = dict(type='AverageClsScoreTTA', module=student_config())
    run_test(changed(trained['plain'], tmp_path, lambda content: None), model)
    path = changed(trained['plain'], tmp_path, lambda c: c['state_dict'].pop('head.fc.weight'))
    with pytest.raises(
        InputError, match=r'of another network; .* head\.fc\.weight \(.*missing in the file'
    ):
        run_test(path, model)


def test_a_test_needs_every_parameter_of_a_plain_network(trained, tmp_path):
    def run_plain(path: Path) -> None:
        run_test(path, student_config())

    def rename(content: dict) -> None:
        weights = content['state_dict']
        content['state_dict'] = {f'module.{name}': value for name, value in weights.items()}

    run_plain(changed(trained['plain'], tmp_path, rename))
    run_plain(
        changed(
            trained['plain'],
            tmp_path,
            lambda c: c['state_dict'].pop('backbone.bn1.num_batches_tracked'),
        )
    )
    for name in ('head.fc.weight', 'backbone.layer1.0.conv1.weight'):
        path = changed(trained['plain'], tmp_path, lambda c, name=name: c['state_dict'].pop(name))
        said = rf'^{path} is of another network; .*{name} \(.* in the model, missing in the file\)$'
        with pytest.raises(InputError, match=said):
            run_plain(path)
    wide = lambda c: c['state_dict'].update({'head.fc.weight': torch.zeros(9, 64)})  # noqa: E731
    path = changed(trained['plain'], tmp_path, wide)
    with pytest.raises(InputError) as error:
        run_plain(path)
    assert str(error.value) == (
        f'{path} is of another network; these tensors differ: '
        'head.fc.weight ((5, 64) in the model, (9, 64) in the file)'
    )
