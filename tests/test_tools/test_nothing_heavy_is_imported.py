"""Help and what is surely wrong are answered with nothing but the standard library."""

import json
import subprocess
import sys

import pytest

from mmmuse.commands import COMMANDS

from .conftest import ROOT
from .test_early_checks import COCO

# Needs no file, or reads the environment, which is its work.
FLAGS_ONLY = {'demo', 'check', 'completion'}
MISSING = {
    # Missing configs.
    'train none.py': 'no config file none.py',
    'train mmmuse::muse/none.py': 'no config mmmuse::muse/none.py',
    'train mmpretrian::resnet/none.py': "no package 'mmpretrian'",
    'test none.py best.pth': 'no config file none.py',
    'wrap none.py --out x.py': 'no config file none.py',
    'wrap mmpretrain::resnet/none.py --out x.py': 'no config mmpretrain::resnet/none.py',
    'export none.py best.pth --exit 1 --out x': 'no config file none.py',
    'exits none.py best.pth --baseline 1 --out x': 'no config file none.py',
    'early-exit none.py best.pth --out x': 'no config file none.py',
    'complexity none.py': 'no config file none.py',
    'detections none.py best.pth --out x': 'no config file none.py',
    'anchors none.py': 'no config file none.py',
    'cache-teacher none.py --out x': 'no config file none.py',
    'table none.py': 'no table none.py',
    'table mmmuse::tables/none.py': 'no config mmmuse::tables/none.py',
    # A backbone without labels.
    'wrap coco.py --unlabelled run --out x.py': '--unlabelled needs --teacher',
    'wrap coco.py --teacher coco.py --out x.py': 'is a config: give its weights by --teacher-checkpoint',
    'wrap coco.py --unlabelled none --teacher coco.py --teacher-checkpoint best.pth --out x.py': (
        '--unlabelled: no folder none'
    ),
    'wrap coco.py --unlabelled run --teacher timm::vit_tiny_patch16_224 --out x.py': (
        '--unlabelled: no images (.jpg, '
    ),
    'wrap coco.py --unlabelled run --teacher none.py --out x.py': "no teacher's config file none.py",
    'wrap coco.py --teacher coco.py --teacher-checkpoint none.pth --out x.py': (
        '--teacher-checkpoint none.pth: no checkpoint file none.pth'
    ),
    # Missing data.
    'train coco.py': 'train_dataloader.dataset.data_root: no folder nowhere/',
    'train coco.py --cfg-options train_cfg.max_epochs=3': 'no folder nowhere/',
    'test coco.py best.pth': 'test_dataloader.dataset.data_root: no folder nowhere/',
    'export coco.py best.pth --exit 1 --out x --data': 'no folder nowhere/',
    'export coco.py best.pth --exit 1 --out x --data elsewhere': 'no folder elsewhere',
    'exits coco.py best.pth --baseline 1 --out x': 'no folder nowhere/',
    'exits coco.py best.pth --baseline 1 --out x --data elsewhere': 'no folder elsewhere',
    'early-exit coco.py best.pth --out x': 'no folder nowhere/',
    'early-exit coco.py best.pth --out x --data elsewhere': 'no folder elsewhere',
    'detections coco.py best.pth --out x': 'no folder nowhere/',
    'detections coco.py best.pth --out x --image-files none.png': 'no image none.png',
    'anchors coco.py': 'no folder nowhere/',
    'anchors coco.py --ann-file none.json': 'no annotation file none.json',
    'cache-teacher coco.py --out x': 'no folder nowhere/',
    'information none': 'none holds no log of a run',
    'report none': 'no work dir none',
    'report . --baseline-dir none': 'no work dir none',
    'report . --detections none': 'no folder none of mmmuse detections',
    'report . --early-exit none': 'no table of early exit none',
    # Missing checkpoints.
    'train coco.py --resume none.pth': 'no checkpoint file none.pth',
    'test coco.py none.pth': 'no checkpoint file none.pth',
    'export coco.py none.pth --exit 1 --out x': 'no checkpoint file none.pth',
    'exits coco.py none.pth --baseline 1 --out x': 'no checkpoint file none.pth',
    'early-exit coco.py none.pth --out x': 'no checkpoint file none.pth',
    'detections coco.py none.pth --out x': 'no checkpoint file none.pth',
    'convert-teacher none.pth x.pth --network resnet56': 'no checkpoint file none.pth',
    'report . --pictures 1 --checkpoint none.pth': 'no checkpoint file none.pth',
    # Outputs that cannot be written.
    'export coco.py best.pth --exit 1 --out a/b': 'no folder',
    'information run --table --csv a/b.csv': 'no folder a to write into',
    'convert-teacher best.pth best.pth --network resnet56': 'best.pth already exists',
}
# Each command line in turn, in one process: what it prints, and the packages it has imported by then.
PROGRAM = """
import contextlib, io, json, sys
at_start = set(sys.modules)  # What a site loads at every start of Python, as for an editable install.
from mmmuse.commands import main

for line in json.loads(sys.argv[1]):
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            main(arguments=line.split())
        code = 0
    except SystemExit as end:
        code = end.code
    packages = {name.partition('.')[0] for name in set(sys.modules) - at_start} - {'mmmuse'}
    print(json.dumps([code, out.getvalue(), sorted(packages - sys.stdlib_module_names)]))
"""
HELP = [f'{name} --help' for name in COMMANDS] + ['--help', '--version']
WRONG = [f'{name} --no-such-flag' for name in COMMANDS] + ['trian', '']


@pytest.fixture(scope='module')
def answers(tmp_path_factory) -> dict[str, tuple[int, str, list[str]]]:
    folder = tmp_path_factory.mktemp('files')
    (folder / 'coco.py').write_text(COCO, encoding='utf-8')
    (folder / 'best.pth').write_bytes(b'')
    (folder / 'run' / '1' / 'vis_data').mkdir(parents=True)
    (folder / 'run' / '1' / 'vis_data' / 'scalars.json').write_text('')
    lines = [*HELP, *WRONG, *MISSING]
    finished = subprocess.run(
        [sys.executable, '-c', PROGRAM, json.dumps(lines)],
        cwd=folder,
        env={'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    found = [json.loads(line) for line in finished.stdout.splitlines()]
    left = {path.name for path in folder.iterdir()}
    assert left == {'coco.py', 'best.pth', 'run'}, 'something was written'
    return dict(zip(lines, found, strict=True))


@pytest.mark.parametrize('line', HELP)
def test_help_imports_the_standard_library_alone(answers, line):
    code, text, packages = answers[line]
    assert (code, packages) == (0, [])
    assert text.startswith(('usage: mmmuse', 'mmmuse '))


@pytest.mark.parametrize('line', WRONG)
def test_a_wrong_flag_or_command_imports_the_standard_library_alone(answers, line):
    code, text, packages = answers[line]
    assert (code, packages) == (2, [])
    assert 'error' in text or text.startswith('usage: mmmuse')


@pytest.mark.parametrize(('line', 'said'), MISSING.items())
def test_what_is_missing_is_said_by_the_standard_library_alone(answers, line, said):
    code, text, packages = answers[line]
    assert (code, packages) == (1, [])
    assert text.startswith('error: ')
    assert said in text
    assert text.count('\n') == 1


def test_every_command_that_reads_files_is_tried():
    tried = {line.partition(' ')[0] for line in MISSING}
    assert tried | FLAGS_ONLY == set(COMMANDS)


def test_the_packages_with_configs_are_those_of_mmengine():
    from mmengine.config.utils import MODULE2PACKAGE

    from mmmuse.checkpoints.packaged_config import PACKAGES

    assert set(PACKAGES) >= set(MODULE2PACKAGE)
    assert len(set(PACKAGES)) == len(PACKAGES)
