"""What is surely wrong is found before the libraries are imported."""

import pytest

from mmmuse.commands import main, mmmuse_parser
from mmmuse.commands.early_checks import check_early
from mmmuse.errors import InputError

COCO = """
train_dataloader = dict(dataset=dict(type='CocoDataset', data_root='nowhere/', ann_file='a.json'))
val_dataloader = train_dataloader
test_dataloader = val_dataloader
model = dict(student=dict(), teacher_checkpoint='none.pth')
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'coco.py').write_text(COCO, encoding='utf-8')
    for file in ('best.pth', 'x.json', 'a.png', 'data/a.json'):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes(b'')
    return tmp_path


def checked(*arguments: str) -> None:
    args = mmmuse_parser().parse_args(arguments)
    check_early(args.command, args)


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        ('train none.py', 'no config file none.py'),
        ('test coco.py none.pth', 'no checkpoint file none.pth'),
        ('train coco.py --resume none.pth', '--resume none.pth: no checkpoint file none.pth'),
        ('train coco.py', 'train_dataloader.dataset.data_root: no folder nowhere/'),
        ('test coco.py best.pth', 'test_dataloader.dataset.data_root: no folder nowhere/'),
        ('exits coco.py best.pth --baseline 1 --out x', 'test_dataloader.dataset.data_root'),
        ('early-exit coco.py best.pth --out x', 'test_dataloader.dataset.data_root'),
        ('cache-teacher coco.py --out x', 'train_dataloader.dataset.data_root'),
        ('anchors coco.py', 'train_dataloader.dataset.data_root'),
        ('detections coco.py best.pth --out x', 'val_dataloader.dataset.data_root'),
        ('export coco.py best.pth --exit 1 --out a/b', 'no folder'),
        ('export coco.py best.pth --exit 1 --out x --data', 'test_dataloader.dataset.data_root'),
        ('export coco.py best.pth --exit 1 --out x --int8', 'train_dataloader.dataset.data_root'),
        ('wrap coco.py --out best.pth', 'best.pth already exists'),
        ('wrap coco.py --out student.py', '--out student.py: a run writes the plain config'),
        ('train coco.py --work-dir a.png', '--work-dir a.png is a file; name a folder'),
        ('test coco.py best.pth --work-dir a.png', '--work-dir a.png is a file; name a folder'),
        (
            'train coco.py --cfg-options work_dir=a.png train_dataloader.dataset.type=CIFAR100 '
            'model.teacher_checkpoint=best.pth --no-validate',
            'work_dir a.png is a file; name a folder',
        ),
        ('complexity coco.py --json a/b.json', 'no folder a to write --json into'),
        ('complexity coco.py --json data', '--json data is a folder; name a file'),
        (
            'train coco.py --cfg-options train_dataloader.dataset.data_root=there',
            'train_dataloader.dataset.data_root: no folder there',
        ),
        (
            'train coco.py --no-validate --cfg-options train_dataloader.dataset.type=CIFAR100',
            'model.teacher_checkpoint none.pth: no checkpoint file none.pth',
        ),
    ],
)
def test_what_is_missing_is_named(folder, arguments, said):
    before = sorted(folder.iterdir())
    with pytest.raises(InputError) as error:
        checked(*arguments.split())
    assert said in str(error.value)
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    'arguments',
    [
        'complexity coco.py',
        'wrap coco.py --out x.py',
        'wrap mmpretrain::resnet/resnet18_8xb32_in1k.py --out x.py',
        'test coco.py https://somewhere/best.pth --cfg-options test_dataloader.dataset.type=Mine model.teacher_checkpoint=best.pth',
        'exits coco.py best.pth --baseline 1 --out x --data data',
        'export coco.py best.pth --exit 1 --out x',
        'anchors coco.py --ann-file x.json',
        'detections coco.py best.pth --out x --image-files a.png',
        'demo',
    ],
)
def test_what_may_work_is_passed_on(folder, arguments):
    checked(*arguments.split())


def test_an_option_that_is_no_pair_is_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        mmmuse_parser().parse_args(['train', 'x.py', '--cfg-options', 'train_cfg'])
    assert stop.value.code == 2
    assert "expected KEY=VALUE, got 'train_cfg'" in capsys.readouterr().err


def test_brackets_that_do_not_match_are_one_line(tool, only_error):
    line = only_error(
        tool('train.py', 'configs/demo/resnet18_digits.py', '--cfg-options', 'a.b=[1,2')
    )
    assert '--cfg-options a.b=[1,2' in line


@pytest.mark.parametrize('repeated', [False, True])
def test_options_are_read_as_mmengine_reads_them(repeated):
    from mmmuse.command_line.option_values import parsed_options

    between = ['--cfg-options'] * repeated
    args = mmmuse_parser().parse_args(
        ['train', 'x.py', '--cfg-options', 'a.b=[1,2.5,c]', *between, 'd=None', 'e=(1,)', 'f=g=h']
    )
    assert parsed_options(args.cfg_options) == {
        'a.b': [1, 2.5, 'c'],
        'd': None,
        'e': (1,),
        'f': 'g=h',
    }


@pytest.mark.parametrize(
    ('flags', 'said'),
    [
        (['--modles', '3'], "unrecognized arguments: --modles 3; did you mean '--modules'?"),
        (['--teachr=x.py'], "unrecognized arguments: --teachr=x.py; did you mean '--teacher'?"),
        (['--lr=1', '--halp'], 'unrecognized arguments: --lr=1 --halp'),
        (
            ['--modles', '3', '--modle=3'],
            "unrecognized arguments: --modles 3 --modle=3; did you mean '--modules'?",
        ),
        (['--qqq', 'more'], 'unrecognized arguments: --qqq more'),
    ],
)
def test_the_nearest_flag_is_named(capsys, flags, said):
    with pytest.raises(SystemExit) as stop:
        main(arguments=['wrap', 'coco.py', '--out', 'x.py', *flags])
    assert stop.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1] == f'mmmuse wrap: error: {said}'
