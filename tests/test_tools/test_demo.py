import json
import re
from pathlib import Path

import pytest

from mmmuse.commands.demo_folders import check_demo_folder
from mmmuse.errors import InputError

START = '20260102_030405'
OF_DEMO = "experiment_name = 'demo baseline'\n"
WRITTEN_BY_A_DEMO = {
    'resnet18_digits.py': OF_DEMO,
    'epoch_1.pth': 'weights',
    'last_checkpoint': 'epoch_1.pth',
    'student.py': 'model = dict()',
    f'{START}/{START}.log': '',
    f'{START}/vis_data/config.py': OF_DEMO,
    f'{START}/vis_data/scalars.json': '{}',
}


def write_files(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob('*') if path.is_file()}


@pytest.mark.usefixtures('half_of_the_digits', 'lines_of_progress')
def test_the_demo_prints_every_exit_beside_the_baseline_and_draws_the_curves(tool, tmp_path):
    for _ in range(2):  # A second run starts over in the same folder.
        finished = tool('demo.py', '--work-dir', tmp_path, '--epochs', 1)
        assert finished.code == 0, finished.err
    assert 'training baseline: ' in finished.err
    assert 'training MI x SI: 2 of ' in finished.err
    assert 'training' not in finished.out
    for i in range(1, 5):
        assert f'MI x SI, exit {i}' in finished.out
    assert 'baseline' in finished.out
    (log,) = tmp_path.glob('MIxSI/*/vis_data/scalars.json')
    last = [json.loads(line) for line in log.read_text().splitlines() if 'information' in line][-1]
    for i in range(1, 4):
        loss = last[f'information/mi_loss_{i}']
        assert re.search(rf'module {i} +{loss:.3f} +1\.386', finished.out)
    assert str(tmp_path / 'information.png') in finished.out.replace('\n', '')
    assert (tmp_path / 'information.png').stat().st_size > 1000


@pytest.mark.parametrize('folder', ['baseline', 'MIxSI'])
def test_a_run_of_the_users_own_is_not_deleted(tool, only_error, tmp_path, folder):
    write_files(tmp_path / 'baseline', WRITTEN_BY_A_DEMO)
    mine = {'my_config.py': 'model = dict()', 'epoch_200.pth': 'weights'}
    write_files(tmp_path / folder, mine)
    before = contents(tmp_path)
    line = only_error(tool('demo.py', '--work-dir', tmp_path, '--epochs', 1))
    assert f'a demo has not written {tmp_path / folder / "my_config.py"}' in line
    assert contents(tmp_path) == before


@pytest.mark.parametrize('epochs', [0, -3])
def test_a_demo_without_an_epoch_is_refused_and_deletes_nothing(tool, only_error, tmp_path, epochs):
    write_files(tmp_path / 'baseline', WRITTEN_BY_A_DEMO)
    before = contents(tmp_path)
    line = only_error(tool('demo.py', '--work-dir', tmp_path, '--epochs', epochs))
    assert line == f'error: --epochs is at least 1, got {epochs}'
    assert contents(tmp_path) == before


def check(folder: Path) -> None:
    check_demo_folder(folder, 'resnet18_digits.py', 'demo baseline')


@pytest.mark.parametrize(
    'files',
    [
        {},
        WRITTEN_BY_A_DEMO,
        {f'{START}/{START}.log': ''},
        {f'{START}/{START}.log': '', f'{START}/vis_data/config.py': ''},
        {f'{START}/vis_data/config.py': OF_DEMO, 'resnet18_digits.py': ''},
        {**WRITTEN_BY_A_DEMO, '.epoch_2.pth.unfinished': 'wei'},
        {**WRITTEN_BY_A_DEMO, 'report.html': '<html>', '__pycache__': ''},
    ],
)
def test_what_a_demo_has_written_is_replaced_wherever_it_was_killed(tmp_path, files):
    write_files(tmp_path, files)
    check(tmp_path)
    check(tmp_path / 'missing')


@pytest.mark.parametrize(
    'files',
    [
        {'resnet18_digits.py': 'model = dict()', 'epoch_1.pth': 'weights'},
        {'resnet18_digits.py': 'model = dict()', f'{START}/{START}.log': 'Epoch 1'},
        {f'{START}/model.pt': 'weights'},
        {'seed0/epoch_1.pth': 'weights'},
        {**WRITTEN_BY_A_DEMO, 'notes.txt': 'Mine.'},
        {**WRITTEN_BY_A_DEMO, '20260102_040506/vis_data/scalars.json': 'A run that went on.'},
    ],
)
def test_what_another_run_has_written_is_not_replaced(tmp_path, files):
    write_files(tmp_path, files)
    with pytest.raises(InputError, match='the demo would delete it: move it, or use another'):
        check(tmp_path)


def test_a_file_or_a_link_is_not_replaced(tmp_path):
    (tmp_path / 'file').write_text('mine')
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'link').symlink_to(tmp_path / 'folder')
    for name in ('file', 'link'):
        with pytest.raises(InputError, match='is not a folder that a demo has made'):
            check(tmp_path / name)
