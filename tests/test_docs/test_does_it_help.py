"""The table "Does it help?" is what its command writes."""

import json
import re
import subprocess
import sys
from collections import Counter
from importlib.util import module_from_spec, spec_from_file_location

import pytest

from .blocks import DOCS, ROOT

SCRIPT = DOCS / 'builder' / 'does_it_help.py'
FILE = DOCS / 'results' / 'does_it_help.json'


@pytest.fixture(scope='module')
def builder():
    spec = spec_from_file_location('does_it_help', SCRIPT)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write(folder, **setting) -> None:
    complete = dict(setting='S', link='#s', row='new', reference='old', metric='m')
    content = json.dumps(dict(settings=[{**complete, **setting}]))
    (folder / 'settings.json').write_text(content)


def test_the_page_has_the_table_of_the_logs_and_records(builder):
    page = (DOCS / 'results' / 'README.md').read_text(encoding='utf-8')
    assert page == builder.replaced(page, builder.table(FILE))


def test_the_page_counts_the_verdicts_of_muse_as_the_table_has_them(builder):
    page = (DOCS / 'results' / 'README.md').read_text(encoding='utf-8')
    verdicts = Counter()
    for line in builder.table(FILE).splitlines()[2:]:
        setting, compared, *_, verdict = line.strip('| ').split(' | ')
        is_other = (
            'obsolete' in setting or 'features' in setting
        )  # Other weights than the defaults.
        if re.match('(MI|SI)|.* and MI', compared) and not is_other:
            verdicts[verdict.strip('*')] += 1
    del verdicts['not run']
    counted = re.search(
        r'the (\d+) rows below .*: no difference seen (\d+), one seed (\d+), hurts (\d+) .*, helps (\d+)\.',
        ' '.join(page.split()),
    )
    expected = ('no difference seen', 'one seed', 'hurts', 'helps')
    assert [*map(int, counted.groups())] == [
        verdicts.total(),
        *(verdicts[verdict] for verdict in expected),
    ]


@pytest.mark.parametrize(
    'file',
    [path for path in (DOCS / 'results').rglob('*') if path.suffix in ('.json', '.csv', '.log')],
    ids=lambda path: path.name,
)
def test_no_result_names_a_folder_of_a_machine(file):
    assert not re.search(r'(?<![\w./-])/(tmp|work|home|root)/', file.read_text(encoding='utf-8'))


def test_every_link_of_the_table_has_its_heading():
    for setting in json.loads(FILE.read_text(encoding='utf-8'))['settings']:
        name, _, anchor = setting['link'].partition('#')
        page = FILE.parent / name if name else FILE.parent / 'README.md'
        headings = [
            line for line in page.read_text(encoding='utf-8').splitlines() if line[:1] == '#'
        ]
        slugs = {
            ''.join(c for c in line.lstrip('# ').lower() if c.isalnum() or c in ' -').replace(
                ' ', '-'
            )
            for line in headings
        }
        assert not anchor or anchor in slugs, setting['link']


def test_logs_are_paired_by_the_seed_in_their_names(builder, tmp_path):
    for name, seed, value in (('new', 0, 3.0), ('new', 1, 4.5), ('old', 1, 2.5), ('old', 0, 2.0)):
        line = 'Epoch(val) [{}][1/1] other/m: 9 m: {} exit1/m: 9\n'
        text = line.format(1, 9.0) + 'Epoch(train) [2] m: 9\n' + line.format(2, value)
        (tmp_path / f'{name}{seed}.log').write_text(text)
    source = dict(kind='logs', row='new*.log', reference='old*.log', metric='m')
    write(tmp_path, unit=100, **{'from': source})
    (line,) = builder.table(tmp_path / 'settings.json').splitlines()[2:]
    # Of 100 and 200: mean 150; half of the interval is 12.706 x 70.71 / sqrt(2).
    assert (
        line
        == '| [S](#s) | new against old | m | 2 | +150.00 [-485.31, +785.31] | **no difference seen** |'
    )


def test_a_run_that_was_cut_off_is_not_compared(builder, tmp_path):
    for name, epoch in (('new0', 9), ('old0', 10)):
        (tmp_path / f'{name}.log').write_text(f'Epoch(val) [{epoch}][1/1] m: 2.0\n')
    write(tmp_path, **{'from': dict(kind='logs', row='new*.log', reference='old*.log', metric='m')})
    with pytest.raises(ValueError, match=r'S: evaluations of epochs \[9, 10\]'):
        builder.table(tmp_path / 'settings.json')


def test_records_are_read_at_their_last_epoch(builder, tmp_path):
    records = [
        dict(row=row, seed=seed, epochs={'9': {'top1': 0.0}, '10': {'top1': value}})
        for row, seed, value in (('new', 0, 60.0), ('new', 2, 61.0), ('old', 2, 60.5))
    ]
    (tmp_path / 'records.json').write_text(json.dumps(records))
    source = dict(kind='records', row='new', reference='old', file='records.json')
    write(tmp_path, **{'from': source})
    assert builder.table(tmp_path / 'settings.json').endswith('| 1 | +0.50 | **one seed** |')
    write(tmp_path, **{'from': {**source, 'row': 'none'}})
    with pytest.raises(ValueError, match='no values of none'):
        builder.table(tmp_path / 'settings.json')


def test_what_has_not_been_run_says_so(builder, tmp_path):
    write(tmp_path)
    assert builder.table(tmp_path / 'settings.json').endswith('| m | - | - | not run |')


def test_a_page_without_the_comments_is_refused(builder):
    with pytest.raises(ValueError, match='the page needs the lines'):
        builder.replaced('# Results\n', 'table')


def log_means(folder, *arguments: str) -> subprocess.CompletedProcess:
    script = str(DOCS / 'builder' / 'log_means.py')
    command = [sys.executable, script, *arguments, '--metrics', 'mIoU', 'exit1/mIoU']
    environment = {'PYTHONPATH': str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)


@pytest.mark.slow
def test_means_of_logs_are_printed_as_a_table(tmp_path):
    for seed, value in ((0, 70.0), (1, 72.0)):
        (tmp_path / f'a{seed}.log').write_text(f'Epoch(val) [4][1/1] mIoU: {value}\n')
    printed = log_means(tmp_path, 'plain=a*.log').stdout.splitlines()
    assert printed[2:] == ['| plain | 0, 1 | 71.00 ± 1.41 | - |']
    missing = log_means(tmp_path, 'plain=b*.log')
    assert (missing.returncode, missing.stderr) == (1, 'error: plain: no evaluation in b*.log\n')


@pytest.mark.slow
def test_differences_of_logs_are_paired_by_seed(tmp_path):
    for name, value in (('a0', 70.0), ('a1', 72.0), ('b0', 71.0), ('b1', 75.0)):
        (tmp_path / f'{name}.log').write_text(f'Epoch(val) [4][1/1] mIoU: {value}\n')
    rows = ('plain=a*.log', 'new=b*.log')
    lines = log_means(tmp_path, *rows, '--against', 'plain').stdout.splitlines()
    # Of 1 and 3: mean 2; half of the interval is 12.706 x 1.4142 / sqrt(2).
    assert lines[-1] == '| new | +2.00 [-10.71, +14.71] | - |'
    refused = log_means(tmp_path, *rows, '--against', 'old')
    message = 'error: --against old: no such row; the rows are plain, new\n'
    assert (refused.returncode, refused.stderr) == (1, message)
    for name in ('b0', 'b1'):
        (tmp_path / f'{name}.log').write_text('Epoch(val) [3][1/1] mIoU: 75.0\n')
    cut_off = log_means(tmp_path, *rows, '--against', 'plain')
    message = 'error: new: evaluations of epochs [3, 4] are not compared\n'
    assert (cut_off.returncode, cut_off.stderr) == (1, message)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('name', 'epoch', 'said'),
    [
        ('a1', 3, 'plain: evaluations of epochs [3, 4] are not averaged'),
        ('a_old0', 4, 'a*.log: two logs of seed 0'),
    ],
)
def test_logs_that_do_not_belong_together_are_not_averaged(tmp_path, name, epoch, said):
    for log, at in (('a0', 4), (name, epoch)):
        (tmp_path / f'{log}.log').write_text(f'Epoch(val) [{at}][1/1] mIoU: 70.0\n')
    refused = log_means(tmp_path, 'plain=a*.log')
    assert (refused.returncode, refused.stderr) == (1, f'error: {said}\n')
