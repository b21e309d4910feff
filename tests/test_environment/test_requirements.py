"""Every command refuses an environment in which it cannot run: one line, and nothing is written."""

import argparse
from pathlib import Path

import pytest

from mmmuse.commands import COMMANDS, mmmuse_parser

from .fake_site import FORKS, ORIGINALS, ROOT, install, python, run

pytestmark = pytest.mark.slow

MISFIT = "raise RuntimeError('operator torchvision::nms does not exist')"


@pytest.fixture
def folder(tmp_path) -> Path:
    """The folder that a command is run in; it stays empty."""
    (tmp_path / 'cwd').mkdir()
    return tmp_path / 'cwd'


def refused(site: Path, folder: Path, *arguments: str) -> str:
    finished = run(site, folder, *arguments)
    assert finished.returncode == 1, finished.stderr
    (line,) = finished.stderr.splitlines()
    assert line.startswith('error: ')
    assert finished.stdout == ''
    assert not any(folder.iterdir())
    return line


def least_arguments(command: str) -> list[str]:
    """Return the arguments that a command cannot be parsed without."""
    commands = next(
        action
        for action in mmmuse_parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    parser = commands.choices[command]
    arguments = []
    for group in parser._mutually_exclusive_groups:
        if group.required:
            arguments += [group._group_actions[0].option_strings[0], '1']
    for action in parser._actions:
        value = action.choices[0] if action.choices else 'none.py'
        if not action.option_strings and action.nargs != '?':
            arguments.append(value)
        elif action.required and action.option_strings:
            arguments += [action.option_strings[0], value]
    return arguments


@pytest.mark.parametrize('command', [c for c in COMMANDS if c not in ('check', 'completion')])
def test_every_command_refuses_an_environment_without_the_libraries(command, tmp_path, folder):
    site = install(tmp_path / 'site', {'torch': '2.4.1', 'torchvision': '0.19.1'})
    line = refused(site, folder, command, *least_arguments(command))
    assert 'not installed (mmengine, mmcv, mmpretrain)' in line
    assert f'pip install -e "{ROOT}[stack]"' in line


@pytest.mark.parametrize(
    ('there', 'texts', 'expected'),
    [
        ({}, {}, f'torch is not installed: pip install -e "{ROOT}[stack]"'),
        (
            {**FORKS, 'torch': '2.4.1', 'torchvision': '0.28.0'},
            dict(torchvision=MISFIT),
            'torchvision 0.28.0 was built for torch 2.13.0, and torch 2.4.1 is installed '
            '(RuntimeError: operator torchvision::nms does not exist): '
            'pip install "torchvision==0.19.*"',
        ),
        (
            {key: FORKS[key] for key in ('torch', 'torchvision', 'onedl-mmengine')},
            {},
            'mmcv is not installed and mmpretrain is not installed: '
            'pip install "onedl-mmcv>=2.3.6" "onedl-mmpretrain>=1.3.6"',
        ),
        (
            {key: ORIGINALS[key] for key in ('torch', 'torchvision', 'mmengine', 'mmpretrain')},
            {},
            'mmcv is not installed: pip install "mmcv-lite==2.1.0"',
        ),
        (
            ORIGINALS,
            dict(mmengine=None),
            'the files of mmengine are missing, although mmengine 0.10.7 is recorded as installed: '
            'pip install --force-reinstall --no-deps "mmengine>=0.10.7"',
        ),
        (
            {**ORIGINALS, 'mmpretrain': '1.0.0'},
            {},
            'mmpretrain 1.0.0 is too old, at least 1.2.0 is needed: '
            'pip install --upgrade "mmpretrain>=1.2.0"',
        ),
        (
            {**FORKS, 'torch': '1.13.1', 'torchvision': '0.28.0'},
            {},
            'torch 1.13.1 is too old, at least 2.1 is needed: pip install --upgrade "torch>=2.1"',
        ),
        (
            {key: value for key, value in FORKS.items() if key != 'torchvision'},
            {},
            'torchvision is not installed: pip install "torchvision==0.28.*"',
        ),
    ],
    ids=[
        'nothing',
        'misfit',
        'half',
        'half_originals',
        'files_gone',
        'old',
        'old_torch',
        'no_vision',
    ],
)
def test_what_is_missing_or_does_not_fit_is_named_with_its_remedy(
    there, texts, expected, tmp_path, folder
):
    site = install(tmp_path / 'site', there, **texts)
    assert refused(site, folder, 'train', 'none.py') == f'error: {expected}'


def test_a_library_whose_import_fails_is_one_line(tmp_path, folder):
    raised = "raise AttributeError('numpy has no attribute int')"
    site = install(tmp_path / 'site', FORKS, mmengine=raised)
    (site / 'yaml.py').write_text('')
    (tmp_path / 'config.py').write_text('')
    line = refused(site, folder, 'train', str(tmp_path / 'config.py'))
    assert line == (
        'error: cannot import mmengine: AttributeError: numpy has no attribute int; '
        'mmmuse check says what does not fit'
    )


def test_options_are_not_read_before_the_environment_is_checked(tmp_path, folder):
    site = install(tmp_path / 'site', {'torch': '2.4.1'})
    line = refused(site, folder, 'train', 'none.py', '--cfg-options', 'a=1')
    assert 'the OpenMMLab libraries are not installed' in line


def test_a_patch_version_of_torch_is_accepted(tmp_path, folder):
    site = install(tmp_path / 'site', {**ORIGINALS, 'torch': '2.4.0'})
    assert refused(site, folder, 'train', 'none.py') == 'error: no config file none.py'


@pytest.mark.parametrize(
    ('arguments', 'expected'),
    [
        (['tarin', 'none.py'], "error: unknown command 'tarin'; did you mean 'train'?"),
        (['earlyexit'], "error: unknown command 'earlyexit'; did you mean 'early-exit'?"),
    ],
)
def test_a_mistyped_command_is_one_line_with_the_nearest_one(arguments, expected, tmp_path, folder):
    finished = run(tmp_path / 'site', folder, *arguments)
    assert finished.returncode == 2
    assert finished.stderr.splitlines() == [expected]


def test_without_a_command_the_help_is_printed_and_the_exit_code_is_not_zero(tmp_path, folder):
    finished = run(tmp_path / 'site', folder)
    assert finished.returncode == 2
    assert all(f'\n    {command}' in finished.stderr for command in COMMANDS)
    assert finished.stdout == ''


@pytest.mark.parametrize('command', [None, *COMMANDS])
def test_help_needs_no_library(command, tmp_path, folder):
    arguments = ['--help'] if command is None else [command, '--help']
    finished = run(tmp_path / 'site', folder, *arguments)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.startswith(f'usage: mmmuse {command or ""}'.rstrip())


def test_a_public_name_says_what_the_environment_lacks(tmp_path, folder):
    site = install(tmp_path / 'site', {'torch': '2.4.1'})
    finished = python(site, folder, 'from mmmuse import SelfDistiller')
    last = finished.stderr.splitlines()[-1]
    assert last.startswith('ImportError: mmmuse.SelfDistiller cannot be imported: the OpenMMLab')
    assert f'pip install -e "{ROOT}[stack]"' in last
