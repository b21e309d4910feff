import csv
import errno
import json
import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmmuse.errors import InputError
from mmmuse.tables import Record, Row, Run, Table, read_record, write_report
from mmmuse.tables.figure import table_figure
from mmmuse.tables.record import (
    log_of,
    logged_epochs,
    logged_hardware,
    read_records,
    save_record,
    write_record,
)

METRIC = 'accuracy/top1'


def log(run: Run, name: str, *records: dict) -> None:
    folder = run.work_dir / name / 'vis_data'
    folder.mkdir(parents=True)
    lines = [json.dumps(record) for record in records]
    (folder / 'scalars.json').write_text('\n'.join(lines) + '\n')


def started(run: Run, *commits: str) -> None:
    run.work_dir.mkdir(parents=True, exist_ok=True)
    log_of(run).write_text('\n'.join(f'commit: {commit}\nsomething' for commit in commits))


def validated(epoch: int, top1: float, *exits: float) -> dict:
    of_exits = {f'exit{i}/top1': value for i, value in enumerate([*exits, top1], 1) if exits}
    return {METRIC: top1, 'accuracy/top5': 99.0, **of_exits, 'step': epoch}


def a_run(folder: Path, row: Row, seed: int = 0, epochs: int = 3) -> Run:
    return Run(row, seed, folder / row.name / f'seed{seed}', epochs, {'randomness.seed': seed})


ROW = Row('MI x SI', 'muse.py', {'exit1': '68.12', 'top1': '78.37 ± 0.34'})


def test_a_resumed_runs_epochs_are_put_together(tmp_path):
    run = a_run(tmp_path, ROW)
    log(run, '1', {'loss': 3.0, 'step': 10}, validated(1, 10.0, 5.0), validated(2, 20.0, 8.0))
    log(run, '2', validated(2, 21.0, 9.0), validated(3, 20.5, 12.0))
    with (run.work_dir / '2' / 'vis_data' / 'scalars.json').open('a') as file:
        file.write('{"accuracy/top1": 3')  # Killed while writing.
    assert logged_epochs(run.work_dir, METRIC) == {
        1: {'exit1': 5.0, 'top1': 10.0},
        2: {'exit1': 9.0, 'top1': 21.0},
        3: {'exit1': 12.0, 'top1': 20.5},
    }
    assert read_record(run) is None
    started(run, 'abc', 'def', 'abc')
    with log_of(run).open('ab') as file:
        file.write(b'\xff\n')  # Of a killed process.
    written = write_record(run, 'python tools/train.py', 'a machine')
    assert written.commit == 'abc, def'
    assert read_record(run) == written
    assert written.last() == {'exit1': 12.0, 'top1': 20.5}
    assert written.best() == {'exit1': 9.0, 'top1': 21.0}


def test_the_hardware_of_a_run_is_that_of_its_last_start(tmp_path):
    run = a_run(tmp_path, ROW)
    assert logged_hardware(run.work_dir) == 'unknown'
    for start, machine in (('1', 'a machine, 2 threads'), ('2', 'another one, 8 threads')):
        folder = run.work_dir / start
        folder.mkdir(parents=True)
        line = f'2026/11/27 00:23:55 - mmengine - INFO - hardware: {machine}\n'
        (folder / f'{start}.log').write_text(f'----\n{line}something\n')
    assert logged_hardware(run.work_dir) == 'another one, 8 threads'


def test_a_run_whose_last_epoch_was_not_evaluated_is_not_finished(tmp_path):
    run = a_run(tmp_path, ROW)
    log(run, '1', validated(1, 10.0), validated(2, 20.0))
    with pytest.raises(InputError, match=r'has no accuracy/top1 of epoch 3'):
        write_record(run, 'c', 'm')
    assert read_record(run) is None


def test_a_damaged_record_is_named(tmp_path):
    run = a_run(tmp_path, ROW)
    run.work_dir.mkdir(parents=True)
    (run.work_dir / 'record.json').write_text('{')
    with pytest.raises(InputError, match=r'record\.json is damaged; delete'):
        read_record(run)


def test_a_row_is_the_mean_and_spread_of_its_seeds(tmp_path):
    baseline = Row('baseline', 'base.py', {'top1': '77.43'})
    table = Table('A table', (baseline, ROW), caption='Of two rows.')
    runs = [a_run(tmp_path, row, seed) for seed in (0, 1) for row in (baseline, ROW)]
    for run, (last, best) in zip(runs[1::2], ((40.0, 50.0), (44.0, 46.0))):
        log(run, '1', validated(1, 1.0, 2.0), validated(2, best, 30.0), validated(3, last, 20.0))
        started(run, 'a', f'b{run.seed}')  # Resumed with the second commit.
        write_record(run, 'python train', 'a machine')
    markdown, table_csv, *_ = write_report(table, runs, tmp_path / 'out', 'python table.py')
    rows = list(csv.DictReader(table_csv.open()))
    assert [row['row'] for row in rows] == ['baseline', 'MI x SI']
    assert rows[0]['seeds'] == '0'
    assert rows[0]['top1_last_mean'] == ''
    of_muse = rows[1]
    # Of 40 and 44: mean 42, standard deviation sqrt(8 / 1).
    assert (of_muse['top1_last_mean'], of_muse['top1_last_std']) == ('42.00', '2.83')
    assert (of_muse['top1_best_mean'], of_muse['top1_best_std']) == ('48.00', '2.83')
    assert (of_muse['exit1_last_mean'], of_muse['exit1_best_mean']) == ('20.00', '30.00')
    assert of_muse['exit1_paper'] == '68.12'
    assert of_muse['commit'] == 'a; b0; b1'
    assert of_muse['hardware'] == 'a machine'
    assert of_muse['command'] == 'python train'
    lines = markdown.read_text().splitlines()
    assert lines[0] == '# A table'
    assert '`python table.py`' in lines
    assert 'Of two rows.' in lines
    assert 'Commit: a, b0, b1.' in lines
    cells = [cell.strip() for cell in lines[-1].split('|')[1:-1]]
    headers = [cell.strip() for cell in lines[-4].split('|')[1:-1]]
    assert dict(zip(headers, cells)) == {
        'row': 'MI x SI',
        'config': '`muse.py`',
        'seeds': '2',
        'exit 1, paper': '68.12',
        'exit 1, last': '20.00 ± 0.00',
        'exit 1, best': '30.00 ± 0.00',
        'full network, paper': '78.37 ± 0.34',
        'full network, last': '42.00 ± 2.83',
        'full network, best': '48.00 ± 2.83',
    }
    cells = [cell.strip() for cell in lines[-2].split('|')[1:-1]]
    # What the paper has not, and what has not been run, are two things.
    assert (
        cells
        == ['baseline', '`base.py`', '0', '-', 'not run', 'not run', '77.43'] + ['not run'] * 2
    )


def test_a_network_without_exits_has_none_and_has_been_run(tmp_path):
    table = Table('A table', (Row('base|line', 'base.py'), ROW))
    run = a_run(tmp_path, table.rows[0])
    log(run, '1', validated(2, 30.0), validated(3, 40.0))
    started(run, 'abc')
    write_record(run, 'c', 'm')
    markdown, *_ = write_report(table, [run], tmp_path / 'out', 'python table.py')
    text = markdown.read_text()
    assert text.splitlines()[-2] == (r'| base\|line | `base.py` | 1 | - | - | - | 40.00 |')
    assert 'best' not in text  # It is the last one.


PAIR = Row('online', 'pair.py', {'b': '74.97', 'a': '71.13'}, metric='average/accuracy/top1')


def of_pair(epoch: int, a: float, b: float) -> dict:
    average = {'average/accuracy/top1': (a + b) / 2, 'average/accuracy/top5': 99.0}
    return {
        **average,
        'a/accuracy/top1': a,
        'a/accuracy/top5': 99.0,
        'b/accuracy/top1': b,
        'a/loss/accuracy/top1': 1.0,
        'step': epoch,
    }


def test_of_two_networks_each_is_kept_beside_their_average(tmp_path):
    run = a_run(tmp_path, PAIR, epochs=2)
    log(run, '1', {'loss': 3.0, 'step': 10}, of_pair(1, 60.0, 80.0), of_pair(2, 66.0, 70.0))
    assert logged_epochs(run.work_dir, PAIR.metric) == {
        1: {'a': 60.0, 'b': 80.0, 'top1': 70.0},
        2: {'a': 66.0, 'b': 70.0, 'top1': 68.0},
    }
    # Of one network's metric there are no peers.
    assert logged_epochs(run.work_dir, 'a/accuracy/top1')[2] == {'top1': 66.0}
    started(run, 'abc')
    record = write_record(run, 'c', 'm')
    assert record.best() == {'a': 60.0, 'b': 80.0, 'top1': 70.0}
    assert read_record(run) == record


def test_an_exit_is_no_peer(tmp_path):
    run = a_run(tmp_path, PAIR, epochs=1)
    exits = {'exit1/top1': 10.0, 'exit2/top1': 20.0}
    log(run, '1', {'average/top1': 20.0, 'a/top1': 25.0, **exits, 'step': 1})
    assert logged_epochs(run.work_dir, 'average/top1') == {
        1: {'exit1': 10.0, 'a': 25.0, 'top1': 20.0}
    }


def test_peers_stand_between_the_exits_and_the_whole_network(tmp_path):
    table = Table('A table', (ROW, PAIR))
    run = a_run(tmp_path, PAIR, epochs=2)
    log(run, '1', of_pair(1, 60.0, 80.0), of_pair(2, 66.0, 70.0))
    started(run, 'abc')
    write_record(run, 'c', 'm')
    markdown, table_csv, *_ = write_report(table, [run], tmp_path / 'out', 'python table.py')
    (_, row) = csv.DictReader(table_csv.open())
    assert (row['b_paper'], row['b_last_mean'], row['b_best_mean']) == ('74.97', '70.00', '80.00')
    text = markdown.read_text()
    assert 'Of several networks trained together (peers), "full network" is the average.' in text
    lines = text.splitlines()
    cells = [cell.strip() for cell in lines[-1].split('|')[1:-1]]
    headers = [cell.strip() for cell in lines[-4].split('|')[1:-1]]
    assert list(zip(headers, cells))[3:] == [
        ('exit 1, paper', '-'),
        ('exit 1, last', '-'),
        ('exit 1, best', '-'),
        ('peer b, paper', '74.97'),
        ('peer b, last', '70.00'),
        ('peer b, best', '80.00'),
        ('peer a, paper', '71.13'),
        ('peer a, last', '66.00'),
        ('peer a, best', '60.00'),
        ('full network, paper', '-'),
        ('full network, last', '68.00'),
        ('full network, best', '70.00'),
    ]


def test_exits_stand_in_the_order_of_their_depth(tmp_path):
    rows = (Row('deep', 'deep.py', {'exit10': '1', 'exit2': '2'}), Row('pair', 'p.py', {'a': '3'}))
    markdown, *_ = write_report(Table('A table', rows), [], tmp_path / 'out', 'python table.py')
    headers = markdown.read_text().splitlines()[-4]
    names = ('exit 2, paper', 'exit 10, paper', 'peer a, paper', 'full network, last')
    places = [headers.index(name) for name in names]
    assert places == sorted(places)


def test_a_table_of_single_networks_says_nothing_of_peers(tmp_path):
    markdown, *_ = write_report(Table('A table', (ROW,)), [], tmp_path / 'out', 'python table.py')
    assert 'peer' not in markdown.read_text()


@pytest.mark.parametrize(
    ('metric', 'logged', 'columns'),
    [
        (
            'coco/bbox_mAP_50',
            {'coco/bbox_mAP': 0.25, 'coco/bbox_mAP_50': 0.5, 'exit1/coco/bbox_mAP_50': 0.375},
            {'exit1': 37.5, 'top1': 50.0},
        ),
        ('coco_panoptic/PQ', {'coco_panoptic/PQ': 45.0}, {'top1': 45.0}),
        (
            'mIoU',
            {'mIoU': 79.0, 'exit2/mIoU': 76.0, 'exit3/mIoU': 78.0, 'exit3/aAcc': 90.0},
            {'exit2': 76.0, 'exit3': 78.0, 'top1': 79.0},
        ),
    ],
)
def test_exits_of_detectors_and_segmenters_are_read_in_percent(tmp_path, metric, logged, columns):
    run = a_run(tmp_path, Row('a', 'a.py', metric=metric))
    log(run, '1', {**logged, 'step': 3})
    assert logged_epochs(run.work_dir, metric) == {3: columns}


def test_the_full_network_of_several_labels_is_one_column(tmp_path):
    metric = 'multi-label/mAP'
    run = a_run(tmp_path, Row('a', 'a.py', metric=metric))
    for epoch, full in ((1, 50.0), (2, 66.5)):
        exits = {f'exit1/{metric}': 50.0, f'exit2/{metric}': full}
        log(run, str(epoch), {metric: full, **exits, 'step': epoch})
    assert logged_epochs(run.work_dir, metric) == {
        1: {'exit1': 50.0, 'top1': 50.0},
        2: {'exit1': 50.0, 'top1': 66.5},
    }


def test_an_exit_of_a_segmenter_that_is_as_good_as_the_full_network_is_a_column(tmp_path):
    run = a_run(tmp_path, Row('a', 'a.py', metric='mIoU'))
    log(run, '1', {'mIoU': 33.0, 'exit2/mIoU': 33.0, 'step': 1})
    assert logged_epochs(run.work_dir, 'mIoU') == {1: {'exit2': 33.0, 'top1': 33.0}}


def trained(step: int, accuracy: float, mi: float) -> list[dict]:
    line = {'accuracy_top-1': accuracy, 'loss_student': 1.0, 'iter': step, 'step': step}
    information = {'information/mi_loss_1': mi, 'information/gradient_ratio': 0.25, 'step': step}
    return [line, information]


def test_what_training_had_last_logged_is_kept(tmp_path):
    run = a_run(tmp_path, ROW, epochs=1)
    log(run, '1', *trained(10, 50.0, 1.25), *trained(20, 90.0, 0.75), validated(1, 40.0, 30.0))
    started(run, 'abc')
    record = write_record(run, 'c', 'm')
    ends = {'training accuracy': 90.0, 'MI loss 1': 0.75, 'gradient ratio': 0.25}
    assert record.at_end == ends
    assert read_record(run) == record
    markdown, table_csv, *_ = write_report(Table('T', (ROW,)), [run], tmp_path / 'out', 'c')
    assert '| row | training accuracy | MI loss 1 | gradient ratio |' in markdown.read_text()
    assert '| MI x SI | 90 | 0.75 | 0.25 |' in markdown.read_text()
    (row,) = csv.DictReader(table_csv.open())
    assert row['training accuracy'] == '90'


def finished(folder: Path, table: Table, **values: dict[int, float]) -> list[Run]:
    """Runs that are finished with these values of the full network, by the row's name and the seed."""
    runs = []
    for row in table.rows:
        for seed, value in values[row.name].items():
            runs.append(a_run(folder, row, seed, 1))
            record = Record({1: {'top1': value}}, 'c', 'abc', 'm', metric=row.metric)
            save_record(runs[-1], record)
    return runs


def test_rows_are_compared_with_the_references_in_pairs_of_seeds(tmp_path):
    rows = (Row('plain', 'a.py'), Row('muse', 'b.py'), Row('single', 'c.py'))
    table = Table('T', rows, references=('plain',))
    plain, muse = {0: 70.0, 1: 72.0, 2: 71.0}, {0: 71.0, 1: 73.5, 2: 72.25, 3: 99.0}
    runs = finished(tmp_path, table, plain=plain, muse=muse, single={1: 70.0, 5: 99.0})
    markdown, table_csv, *_ = write_report(table, runs, tmp_path / 'out', 'c')
    lines = markdown.read_text().splitlines()
    # Of 1, 1.5 and 1.25: mean 1.25; the quantile of 0.975 with two degrees of freedom is 4.303.
    assert '| muse | plain | +1.25 [+0.63, +1.87] | 3 | helps |' in lines
    assert '| single | plain | -2.00 | 1 | one seed |' in lines
    assert not any(line.startswith('| plain | plain') for line in lines)
    figures = list(csv.DictReader(table_csv.open()))
    assert [row['top1 minus plain, seeds'] for row in figures] == ['0', '3', '1']
    assert figures[1]['top1 minus plain, half_width'] == '0.62'
    # Without references there is no such table.
    markdown, *_ = write_report(Table('T', rows), runs, tmp_path / 'other', 'c')
    assert 'Difference' not in markdown.read_text()


def test_what_cannot_be_compared_has_no_difference(tmp_path):
    """A teacher that is trained once, and a row of another metric."""
    rows = (
        Row('teacher', 't.py', seed=0),
        Row('plain', 'a.py'),
        Row('near', 'b.py', metric='knn/top1'),
    )
    table = Table('T', rows, references=('plain',))
    values = dict(teacher={0: 80.0}, plain={0: 70.0, 1: 72.0}, near={0: 60.0, 1: 61.0})
    markdown, *_ = write_report(table, finished(tmp_path, table, **values), tmp_path / 'out', 'c')
    assert 'Difference' not in markdown.read_text()


def test_exits_are_compared_where_both_rows_have_them(tmp_path):
    rows = (Row('plain', 'a.py'), Row('exits', 'b.py'), Row('muse', 'c.py'))
    table = Table('T', rows, references=('plain', 'exits'))
    values = [{'top1': 70.0}, {'exit1': 50.0, 'top1': 71.0}, {'exit1': 52.0, 'top1': 72.0}]
    runs = []
    for row, metrics in zip(rows, values):
        for seed in (0, 1):
            runs.append(a_run(tmp_path, row, seed, 1))
            shifted = {name: value + seed for name, value in metrics.items()}
            save_record(runs[-1], Record({1: shifted}, 'c', 'abc', 'm'))
    markdown, *_ = write_report(table, runs, tmp_path / 'out', 'c')
    lines = markdown.read_text().splitlines()
    assert (
        '| row | against | exit 1 | full network | seeds | verdict on the full network |' in lines
    )
    assert '| muse | plain | - | +2.00 [+2.00, +2.00] | 2 | no spread |' in lines
    assert '| muse | exits | +2.00 [+2.00, +2.00] | +1.00 [+1.00, +1.00] | 2 | no spread |' in lines


def test_a_value_that_is_no_number_does_not_end_the_report(tmp_path):
    rows = (Row('plain', 'a.py'), Row('muse', 'b.py'))
    table = Table('T', rows, references=('plain',))
    runs = finished(tmp_path, table, plain={0: 70.0, 1: 71.0}, muse={0: math.nan, 1: 72.0})
    markdown, *_ = write_report(table, runs, tmp_path / 'out', 'c')
    assert '| muse | plain | +nan [+nan, +nan] | 2 | no difference seen |' in markdown.read_text()


def test_the_records_beside_a_table_are_read_again(tmp_path):
    rows = (Row('plain', 'a.py', metric='mIoU'), Row('same', 'a.py', metric='mIoU'))
    table = Table('T', rows)
    runs = finished(tmp_path, table, plain={0: 70.0, 3: 72.0}, same={0: 70.0})
    *_, table_json, _ = write_report(table, runs, tmp_path / 'out', 'c')
    assert read_records(table_json) == {
        f'{row}/seed{seed}': Record({1: {'top1': value}}, 'c', 'abc', 'm', metric='mIoU')
        for row, seed, value in (('plain', 0, 70.0), ('plain', 3, 72.0), ('same', 0, 70.0))
    }


def test_a_full_disk_leaves_the_records_and_the_table_that_were_there(tmp_path, monkeypatch):
    table = Table('T', (Row('plain', 'a.py'),))
    runs = finished(tmp_path, table, plain={0: 50.0})
    before = {path: path.read_bytes() for path in write_report(table, runs, tmp_path / 'out', '')}

    def refuse(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, 'fsync', refuse)
    with pytest.raises(InputError, match=r'cannot write .*out\.md: No space left on device'):
        write_report(table, runs, tmp_path / 'out', 'another command')
    with pytest.raises(InputError, match='cannot write'):
        save_record(runs[0], replace(read_record(runs[0]), commit='b'))
    assert {path: path.read_bytes() for path in before} == before
    assert read_record(runs[0]).commit != 'b'


def test_a_record_of_another_metric_is_not_that_of_the_row(tmp_path):
    run = a_run(tmp_path, ROW, epochs=1)
    log(run, '1', {**validated(1, 40.0), 'mIoU': 79.0})
    started(run, 'abc')
    assert write_record(run, 'c', 'm').last() == {'top1': 40.0}
    other = replace(run, row=replace(ROW, metric='mIoU'))
    assert read_record(other) is None
    assert write_record(other, 'c', 'm').last() == {'top1': 79.0}
    assert read_record(run) is None


RECORD = dict(folder='a', command='', commit='', hardware='')


@pytest.mark.parametrize(
    'content',
    [
        '{',
        '{}',
        '[1]',
        '[{"folder": "a"}]',
        json.dumps([{**RECORD, 'epochs': {'1': {}}}]),
        json.dumps([{**RECORD, 'epochs': {}}]),
        json.dumps([{**RECORD, 'epochs': {'1': {'top1': 'x'}}}]),
    ],
)
def test_a_file_without_records_is_refused(tmp_path, content):
    file = tmp_path / 'records.json'
    with pytest.raises(InputError, match='no file of records'):
        read_records(file)
    file.write_text(content)
    with pytest.raises(InputError, match='holds no records of a table'):
        read_records(file)


def test_the_figure_has_a_point_for_each_row_and_column():
    values = {
        'plain': {'exit 1': [], 'full network': [70.0]},
        '_muse $1': {'exit 1': [50.0, 52.0, 51.0], 'full network': [71.0, 72.0, 73.0]},
        'not run': {'exit 1': [], 'full network': []},
    }
    figure = table_figure(values, 'T', 'Top-1 (%)')
    (axis,) = figure.axes
    assert [label.get_text() for label in axis.get_xticklabels()] == ['exit 1', 'full network']
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ['plain', r'_muse \$1']
    plain, muse = axis.containers
    assert plain.lines[0].get_ydata().tolist() == [70.0]
    assert muse.lines[0].get_ydata().tolist() == [51.0, 72.0]
    assert [round(place) for place in muse.lines[0].get_xdata()] == [0, 1]
    # The bar of one seed is not drawn; that of 50, 52 and 51 is 4.303 / sqrt(3) long on each side.
    (bars,) = muse.lines[2]
    low, high = bars.get_segments()[0][:, 1]
    assert (low, high) == (pytest.approx(51 - 2.484, abs=1e-3), pytest.approx(51 + 2.484, abs=1e-3))
    (bars,) = plain.lines[2]
    assert not any(len(bar) and np.isfinite(bar).all() for bar in bars.get_segments())


@pytest.mark.parametrize(
    ('names', 'columns'),
    [
        ([f'row {number}' for number in range(10)], 6),
        ([f'MI x SI, critics at a tenth of the rate {number}' for number in range(3)], 1),
    ],
)
def test_the_legend_of_a_figure_has_as_many_columns_as_fit(names, columns):
    values = {name: {'exit 1': [60.0], 'full network': [70.0]} for name in names}
    figure = table_figure(values, 'T', 'Top-1 (%)')
    figure.draw_without_rendering()
    (legend,) = figure.legends
    places = {round(text.get_window_extent().x0) for text in legend.get_texts()}
    assert len(places) == columns
    assert legend.get_window_extent().x1 <= figure.bbox.x1


def test_a_table_without_a_run_has_no_figure(tmp_path):
    assert len(write_report(Table('T', (ROW,)), [], tmp_path / 'none', 'c')) == 3
    *_, figure = write_report(
        Table('T', (ROW,)),
        finished(tmp_path, Table('T', (ROW,)), **{'MI x SI': {0: 70.0}}),
        tmp_path / 'out',
        'c',
    )
    assert figure.read_bytes().startswith(b'\x89PNG')


def test_the_metric_is_named_in_the_table(tmp_path):
    table = Table('T', (Row('a', 'a.py', metric='coco/bbox_mAP_50'),))
    markdown, *_ = write_report(table, [], tmp_path / 'out', 'c')
    assert 'box mAP@0.5 (%), mean' in markdown.read_text()
    markdown, *_ = write_report(Table('T', (ROW,)), [], tmp_path / 'out', 'c')
    assert 'Top-1 accuracy (%), mean' in markdown.read_text()
    unknown = Table('T', (Row('a', 'a.py', metric='coco_panoptic/PQ'),))
    markdown, *_ = write_report(unknown, [], tmp_path / 'out', 'c')
    assert 'coco_panoptic/PQ, mean' in markdown.read_text()  # As it is logged.
