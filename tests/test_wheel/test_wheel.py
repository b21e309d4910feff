"""The wheel, installed into fresh environments: from a folder of images to an exported exit."""

import json
import subprocess
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from mmmuse.commands import COMMANDS

from .conftest import ROOT, install_wheel, new_environment, packages

pytestmark = pytest.mark.wheel

PLAIN = """
default_scope = 'mmpretrain'
model = dict(
    type='ImageClassifier',
    backbone=dict(type='ResNet_CIFAR', depth=18, stem_channels=8, base_channels=8),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(
        type='LinearClsHead', num_classes=2, in_channels=64, topk=(1,),
        loss=dict(type='CrossEntropyLoss'),
    ),
)
data_preprocessor = dict(num_classes=2, mean=[127.0] * 3, std=[64.0] * 3, to_rgb=True)
pipeline = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(32, 32)), dict(type='PackInputs')]

def loader(split):
    return dict(
        batch_size=10,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=split == 'train'),
        dataset=dict(type='CustomDataset', data_root=f'animals/{split}', pipeline=pipeline),
    )

train_dataloader = loader('train')
val_dataloader = test_dataloader = loader('val')
val_evaluator = test_evaluator = dict(type='Accuracy', topk=(1,))
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9))
train_cfg = dict(by_epoch=True, max_epochs=1, val_interval=1)
val_cfg = dict()
test_cfg = dict()
"""


@pytest.fixture(scope='session')
def project(environment):
    """The environment, with a plain config and 40 images of two classes in its folder."""
    generator = np.random.default_rng(0)
    for split in ('train', 'val'):
        for name, shade in (('cat', 60), ('dog', 190)):
            folder = environment.folder / 'animals' / split / name
            folder.mkdir(parents=True)
            for i in range(10):
                pixels = generator.integers(shade - 50, shade + 50, (40, 48, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f'{i}.jpg')
    (environment.folder / 'plain.py').write_text(PLAIN)
    return environment


@pytest.fixture(scope='session')
def distilled(project):
    """The project after ``wrap`` and ``train``."""
    project.run('mmmuse', 'wrap', 'plain.py', '--out', 'distilled.py')
    project.run('mmmuse', 'train', 'distilled.py', '--work-dir', 'run')
    assert (project.folder / 'run' / 'epoch_1.pth').is_file()
    return project


def shipped() -> set[str]:
    """Return the files of configs and tools, as git has them."""
    listed = subprocess.run(
        ['git', 'ls-files', 'configs', 'tools', 'model-index.yml'],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(listed.stdout.splitlines())


def test_wheel_and_sdist_have_every_config_and_tool(distributions):
    sdist, wheel = distributions
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = set(archive.namelist())
    with tarfile.open(sdist) as archive:
        in_sdist = {name.partition('/')[2] for name in archive.getnames()}
    for names in (in_wheel, in_sdist):
        packed = {name.removeprefix('mmmuse/.mim/') for name in names if '/.mim/' in name}
        assert {name for name in packed if '.' in name} == shipped()
        assert 'mmmuse/py.typed' in names
        assert not [name for name in names if name.endswith('.pyc')]
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / 'mmmuse').rglob('*.py')}
    assert {name for name in modules if '/.mim/' not in name} <= in_wheel


def test_installing_replaces_no_package_of_the_environment(environment):
    added = set(environment.packages()) - set(environment.before)
    assert {name.partition(' ')[0].partition('=')[0] for name in added} == {'mmmuse'}
    assert set(environment.before) < set(environment.packages())


def test_installing_beside_the_originals_replaces_none_of_them(distributions, tmp_path):
    environment = new_environment(tmp_path / 'environment')
    (site,) = environment.glob('lib/python*/site-packages')
    versions = dict(
        mmengine='0.10.7', mmcv='2.1.0', mmpretrain='1.2.0', mmdet='3.3.0', torch='2.1.2',
        torchvision='0.16.2', numpy='1.26.4', rich='13.4.2', matplotlib='3.8.0',
        typing_extensions='4.8.0',
    )  # fmt: skip
    for name, version in versions.items():
        info = site / f'{name}-{version}.dist-info'
        info.mkdir()
        metadata = f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n'
        (info / 'METADATA').write_text(metadata)
        (info / 'RECORD').write_text('')
        (info / 'INSTALLER').write_text('pip')
    before = packages(environment)
    install_wheel(environment, distributions[1])
    after = packages(environment)
    assert len(before) == len(versions)
    assert [line for line in after if not line.startswith('mmmuse')] == before


def test_the_environment_is_ready(environment):
    findings = json.loads(environment.run('mmmuse', 'check', '--json').stdout)
    kinds = {each['name']: each['detail'] for each in findings}
    expected = 'maintained fork' if environment.kind == 'forks' else "OpenMMLab's own release"
    for name in ('mmengine', 'mmcv', 'mmpretrain'):
        assert expected in kinds[name]
    assert str(environment.path) in kinds['mmmuse']


def test_help_lists_the_commands(environment):
    shown = environment.run('mmmuse', '--help').stdout
    assert all(f'\n    {command}' in shown for command in COMMANDS)


@pytest.mark.parametrize('shell', ['bash', 'zsh'])
def test_a_shell_completes_commands_and_flags(environment, shell):
    if not any(package.startswith('shtab') for package in environment.packages()):
        pytest.skip('shtab is not in this lock')
    script = environment.run('mmmuse', 'completion', shell).stdout
    assert 'cache-teacher' in script
    assert '--calibration-images' in script


def test_a_users_images_are_distilled_and_evaluated(distilled):
    shown = distilled.run('mmmuse', 'test', 'distilled.py', 'run/epoch_1.pth', '--work-dir', 'test')
    assert 'accuracy/top1' in shown.stdout + shown.stderr
    assert 'exit1/top1' in shown.stdout + shown.stderr


def test_the_student_is_evaluated_with_the_plain_config(distilled):
    distilled.run('mmmuse', 'test', 'plain.py', 'run/epoch_1.pth', '--work-dir', 'plain')


def test_an_exit_is_exported_and_used_without_mmmuse(distilled):
    forms = ['--onnx'] if any(name.startswith('onnx==') for name in distilled.packages()) else []
    distilled.run(
        *('mmmuse', 'export', 'distilled.py', 'run/epoch_1.pth', '--exit', 1, '--out', 'exit'),
        *forms,
    )
    code = (
        "import sys\nsys.modules['mmmuse'] = None\n"
        'from mmpretrain import ImageClassificationInferencer as Inferencer\n'
        "infer = Inferencer('exit/config.py', 'exit/checkpoint.pth')\n"
        "print('\\nclasses:', len(infer('animals/val/cat/0.jpg')[0]['pred_scores']))"
    )
    assert 'classes: 2' in distilled.run('python', '-c', code).stdout.splitlines()
    assert (distilled.folder / 'exit' / 'network.onnx').is_file() == bool(forms)


def test_a_config_of_the_package_is_a_base_and_a_config(project):
    (project.folder / 'ours.py').write_text(
        "_base_ = ['mmmuse::muse/resnet18_cifar100_mi_x_si.py']\ntrain_cfg = dict(max_epochs=7)\n"
    )
    code = (
        'import mmmuse, mmengine.hub\nfrom mmengine.config import Config\n'
        "epochs = Config.fromfile('ours.py').train_cfg.max_epochs\n"
        "plain = mmengine.hub.get_config('mmmuse::baselines/vgg19_cifar100.py').model.type\n"
        "model = mmengine.hub.get_model('mmmuse::narrow/narrow-resnet18_cifar100_mi_x_si.py')\n"
        "print('\\nread:', epochs, plain, type(model).__name__)"
    )
    shown = project.run('python', '-c', code).stdout.splitlines()
    assert 'read: 7 ImageClassifier SelfDistiller' in shown
    costs = project.run(
        'mmmuse', 'complexity', 'mmmuse::narrow/narrow-resnet18_cifar100_mi_x_si.py'
    )
    assert 'exit' in costs.stdout


def test_several_processes_are_started_by_the_script_in_the_package(distilled):
    (package,) = distilled.path.glob('lib/python*/site-packages/mmmuse')
    script = str(package / '.mim' / 'tools' / 'dist_train.sh')
    distilled.run(script, 'distilled.py', 2, '--work-dir', 'two')
    assert (distilled.folder / 'two' / 'epoch_1.pth').is_file()
