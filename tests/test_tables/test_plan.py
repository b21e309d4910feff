import re
from pathlib import Path

import pytest
from mmengine.config import Config

from mmmuse.command_line.option_values import parsed_options
from mmmuse.errors import InputError
from mmmuse.tables import plan_runs, read_table

ROOT = Path(__file__).resolve().parents[2]
BASELINE = 'configs/baselines/resnet18_cifar100.py'
MUSE = 'configs/muse/resnet18_cifar100_mi_x_si.py'


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def write_table(folder: Path, **content) -> str:
    path = folder / 'table.py'
    path.write_text('\n'.join(f'{key} = {value!r}' for key, value in content.items()))
    return str(path)


def two_rows(folder: Path, **options) -> str:
    rows = [
        dict(name='baseline', config=BASELINE, paper='77.43'),
        dict(name='MI x SI', config=MUSE, paper=dict(exit1='68.12', top1='78.37')),
    ]
    return write_table(folder, title='Two', rows=rows, options=options)


def test_every_row_has_a_run_before_any_has_two(tmp_path):
    table = read_table(two_rows(tmp_path))
    runs = plan_runs(table, [3, 5], tmp_path)
    assert [(run.row.name, run.seed) for run in runs] == [
        ('baseline', 3),
        ('MI x SI', 3),
        ('baseline', 5),
        ('MI x SI', 5),
    ]
    assert [run.epochs for run in runs] == [200] * 4
    assert runs[2].options == {'randomness.seed': 5}
    assert table.rows[0].paper == {'top1': '77.43'}
    assert table.rows[1].paper == {'exit1': '68.12', 'top1': '78.37'}


def test_a_row_has_its_own_metric_or_the_tables(tmp_path):
    rows = [
        dict(name='pair', config=BASELINE, metric='average/accuracy/top1'),
        dict(name='one', config=MUSE),
    ]

    def metrics(**shared) -> list[str]:
        table = read_table(write_table(tmp_path, title='T', rows=rows, **shared))
        return [run.row.metric for run in plan_runs(table, [0], tmp_path)]

    assert metrics() == ['average/accuracy/top1', 'accuracy/top1']
    assert metrics(metric='accuracy/top5') == ['average/accuracy/top1', 'accuracy/top5']


def test_the_command_of_a_run_says_to_train_what_the_plan_says(tmp_path):
    table = read_table(two_rows(tmp_path, **{'model.head.in_channels': 512}))
    run = plan_runs(table, [1], tmp_path, epochs=20, options={'train_dataloader.batch_size': 64})[0]
    config, *flags = run.arguments()
    assert config == BASELINE
    assert flags[:4] == ['--work-dir', str(run.work_dir), '--resume', '--cfg-options']
    assert parsed_options(flags[4:]) == {
        'model.head.in_channels': 512,
        'train_cfg.max_epochs': 20,
        'param_scheduler.milestones': [8, 13, 18],
        'train_dataloader.batch_size': 64,
        'randomness.seed': 1,
    }


@pytest.mark.parametrize('folder', ['my runs', 'runs,1', 'runs (1)', '10'])
def test_a_run_goes_on_from_the_checkpoint_that_the_plan_names_wherever_it_lies(folder, tmp_path):
    rows = [
        dict(name='first', config=BASELINE),
        dict(name='second', config=BASELINE, after='first', options={'load_from': '{after}'}),
    ]
    table = read_table(write_table(tmp_path, title='T', rows=rows))
    first, second = plan_runs(table, [0], Path(folder))
    options = second.arguments()[second.arguments().index('--cfg-options') + 1 :]
    assert parsed_options(options)['load_from'] == str(first.checkpoint)


def test_fewer_epochs_scale_the_schedule_that_the_table_itself_sets(tmp_path):
    path = two_rows(tmp_path, **{'train_cfg.max_epochs': 8, 'param_scheduler.milestones': [4, 6]})
    run = plan_runs(read_table(path), [0], tmp_path, epochs=4)[0]
    assert run.epochs == 4
    assert run.options['param_scheduler.milestones'] == [2, 3]
    by_hand = {'param_scheduler.milestones': [3]}
    run = plan_runs(read_table(path), [0], tmp_path, epochs=4, options=by_hand)[0]
    assert run.options['param_scheduler.milestones'] == [3]


def test_two_tables_share_a_run_and_nothing_else(tmp_path):
    table = read_table(two_rows(tmp_path))
    first, other = (plan_runs(table, [0], tmp_path, epochs=epochs)[1] for epochs in (20, 30))
    again = plan_runs(table, [0], tmp_path, epochs=20)[1]
    assert first.work_dir == again.work_dir != other.work_dir
    assert first.work_dir.parent.name.startswith('resnet18_cifar100_mi_x_si-')
    assert first.work_dir.parent.parent == tmp_path / 'muse'


def test_a_config_that_has_been_changed_is_another_run(tmp_path):
    own = tmp_path / 'own.py'

    def folder(line: str) -> Path:
        own.write_text(f'_base_ = {str(ROOT / BASELINE)!r}\n{line}\n')
        rows = [dict(name='own', config=str(own))]
        table = read_table(write_table(tmp_path, title='T', rows=rows))
        return plan_runs(table, [0], tmp_path)[0].work_dir

    before = folder('')
    assert folder('# The same.') == before
    assert folder('optim_wrapper = dict(optimizer=dict(lr=0.5))') != before


def test_a_table_that_cannot_be_read_is_named_with_its_line(tmp_path):
    path = tmp_path / 'broken.py'
    path.write_text("title = 'T'\nrows = [\n")
    with pytest.raises(InputError, match=r'broken\.py, line 2: '):
        read_table(str(path))


def test_a_missing_config_is_named_with_its_row(tmp_path):
    path = write_table(tmp_path, title='One', rows=[dict(name='MMD', config='configs/none.py')])
    with pytest.raises(InputError, match=r"^row 'MMD': no config file configs/none\.py$"):
        plan_runs(read_table(path), [0], tmp_path)


def test_a_key_that_nothing_reads_is_named_with_its_row(tmp_path):
    table = read_table(two_rows(tmp_path, epochs=3))
    with pytest.raises(InputError, match="row 'baseline': unknown config key 'epochs'"):
        plan_runs(table, [0], tmp_path)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (dict(rows=[dict(name='a', config='b')]), 'needs a title and rows'),
        (dict(title='T', rows=[]), 'needs a title and rows'),
        (dict(title='T', rows=[dict(name='a', config='b')], row=1), 'unknown keys row'),
        (dict(title='T', rows=[dict(name='a')]), 'row 1: a row is dict'),
        (dict(title='T', rows=[dict(name='a', config='b', color=1)]), 'row 1: a row is dict'),
        (dict(title='T', rows=['a']), 'row 1: a row is dict'),
        (
            dict(title='T', rows=[dict(name='a', config='b', metrics='c')]),
            'options and metric, got',
        ),
        (dict(title='T', rows=[dict(name='a', config='b')] * 2), "two rows are named 'a'"),
        (
            dict(title='T', rows=[dict(name='a', config='b', seed='0')]),
            "row 1: seed is a whole number from 0, got '0'",
        ),
        (
            dict(title='T', rows=[dict(name='a', config='b')], references=['c']),
            "references has 'c', which is no row",
        ),
    ],
)
def test_a_file_that_is_no_table_is_refused(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        read_table(write_table(tmp_path, **content))


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(seeds=[]), 'different seeds, at least one'),
        (dict(seeds=[1, 1]), r'different seeds, at least one, got \[1, 1\]'),
        (dict(seeds=[0], epochs=0), '--epochs is at least 1, got 0'),
        (dict(seeds=[0], options={'model': dict(type='X')}), 'not dicts'),
    ],
)
def test_bad_arguments_are_refused(tmp_path, arguments, message):
    table = read_table(two_rows(tmp_path))
    with pytest.raises(InputError, match=message):
        [run.arguments() for run in plan_runs(table, work_dir=tmp_path, **arguments)]


SHIPPED = sorted((ROOT / 'configs' / 'tables').glob('*.py'))


@pytest.mark.parametrize('path', SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_table_can_be_planned(path, tmp_path):
    table = read_table(str(path))
    runs = plan_runs(table, [0], tmp_path, epochs=60)
    assert len({run.work_dir for run in runs}) == len(table.rows)


def test_the_tables_of_the_paper_are_all_there():
    assert {path.stem for path in SHIPPED} >= {f'table{n}' for n in (1, 2, 5, 6, 7)}
    rows = {path.stem: len(Config.fromfile(path).rows) for path in SHIPPED}
    assert (rows['table1'], rows['table5'], rows['table6']) == (48, 32, 14)
    # The plain networks; nine offline methods for two pairs; six online methods for four.
    assert rows['table7'] == 6 + 2 * 9 + 4 * 6


def test_of_two_networks_table_7_has_the_average_or_both_as_the_paper_has():
    rows = {row.name: row for row in read_table(str(ROOT / 'configs/tables/table7.py')).rows}
    plain, offline = rows['resnet20 alone'], rows['offline resnet56-resnet20 AT']
    assert plain.metric == offline.metric == 'accuracy/top1'
    assert offline.paper == {'top1': '70.55'}
    of_one_kind, of_two = rows['online resnet20-resnet20 DML'], rows['online resnet20-resnet56 DML']
    assert of_one_kind.metric == of_two.metric == 'average/accuracy/top1'
    assert of_one_kind.paper == {'top1': '70.84'}
    assert of_two.paper == {'a': '71.13', 'b': '74.97'}


def after(folder: Path, **first) -> str:
    rows = [
        dict(name='first', config=BASELINE, options=first),
        dict(
            name='second',
            config=MUSE,
            after='first',
            options={'load_from': '{after}', 'train_cfg.max_epochs': 9},
        ),
    ]
    return write_table(folder, title='After', rows=rows)


def test_a_row_goes_on_from_the_last_checkpoint_of_another_with_the_same_seed(tmp_path):
    runs = plan_runs(read_table(after(tmp_path)), [3, 5], tmp_path)
    assert [(run.row.name, run.seed) for run in runs] == [
        ('first', 3),
        ('second', 3),
        ('first', 5),
        ('second', 5),
    ]
    for first, second in (runs[:2], runs[2:]):
        assert (first.after, second.after) == (None, first.work_dir)
        assert second.options['load_from'] == str(first.work_dir / 'epoch_200.pth')
        assert f'load_from={first.work_dir}/epoch_200.pth' in second.arguments()
    shorter = plan_runs(read_table(after(tmp_path)), [3], tmp_path, epochs=6)
    assert shorter[1].options['load_from'] == str(shorter[0].work_dir / 'epoch_6.pth')


def test_the_checkpoint_is_put_into_lists_too(tmp_path):
    sources = [['{after}', 1], ('{after}',)]
    options = {'custom_imports.imports': sources}
    rows = [
        dict(name='first', config=BASELINE),
        dict(name='second', config=BASELINE, after='first', options=options),
    ]
    table = read_table(write_table(tmp_path, title='T', rows=rows))
    first, second = plan_runs(table, [0], tmp_path)
    checkpoint = str(first.checkpoint)
    assert second.options['custom_imports.imports'] == [[checkpoint, 1], (checkpoint,)]


def test_figures_of_the_paper_may_be_numbers(tmp_path):
    rows = [
        dict(name='a', config='b', paper=72.3),
        dict(name='c', config='d', paper=dict(exit1=70, top1='72.5')),
    ]
    table = read_table(write_table(tmp_path, title='T', rows=rows))
    assert [row.paper for row in table.rows] == [
        {'top1': '72.3'},
        {'exit1': '70', 'top1': '72.5'},
    ]


def test_a_row_that_goes_on_from_a_changed_one_is_trained_again(tmp_path):
    first, second = plan_runs(read_table(after(tmp_path)), [0], tmp_path)
    path = after(tmp_path, **{'optim_wrapper.optimizer.lr': 0.5})
    changed = plan_runs(read_table(path), [0], tmp_path)
    assert changed[0].work_dir != first.work_dir
    assert changed[1].work_dir != second.work_dir
    # Its folder does not depend on where the runs are.
    elsewhere = plan_runs(read_table(path), [0], tmp_path / 'elsewhere')
    assert elsewhere[1].work_dir.relative_to(tmp_path / 'elsewhere') == changed[
        1
    ].work_dir.relative_to(tmp_path)


def test_a_row_goes_on_from_one_before_it(tmp_path):
    rows = [dict(name='a', config=BASELINE, after='b'), dict(name='b', config=BASELINE)]
    with pytest.raises(InputError, match="row 'a' is after 'b', which is no row before it"):
        read_table(write_table(tmp_path, title='T', rows=rows))


def test_a_row_with_a_seed_of_its_own_is_trained_once_for_all_that_go_on_from_it(tmp_path):
    rows = [
        dict(name='teacher', config=BASELINE, seed=7),
        dict(name='student', config=BASELINE, after='teacher', options={'load_from': '{after}'}),
    ]
    runs = plan_runs(read_table(write_table(tmp_path, title='T', rows=rows)), [0, 1], tmp_path)
    assert [run.name for run in runs] == ['teacher, seed 7', 'student, seed 0', 'student, seed 1']
    teacher, *students = runs
    assert teacher.options['randomness.seed'] == 7
    assert teacher.work_dir.name == 'seed7'
    for student in students:
        assert student.after == teacher.work_dir
        assert student.options['load_from'] == str(teacher.work_dir / 'epoch_200.pth')


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (dict(references='a'), "references is a list, got 'a'"),
        (dict(caption=None), 'caption is a str, got None'),
        (dict(options=5), 'options is a dict, got 5'),
        (dict(references=['once']), "references has 'once', a row with a seed of its own"),
        (dict(references=[['a']]), "references has ['a'], which is no row"),
        (dict(rows=5), 'it needs a title and rows'),
        (dict(rows=[dict(name=5, config='b')]), 'row 1: name is a text, got 5'),
        (
            dict(rows=[dict(name='a', config='b', options=['x=1'])]),
            "row 1: options is a dict, got ['x=1']",
        ),
        (
            dict(rows=[dict(name='a', config='b', paper=[72.3])]),
            'row 1: paper is a figure, or a dict of figures by column, got [72.3]',
        ),
        (
            dict(rows=[dict(name='a', config='b', paper=dict(top1=None))]),
            "paper is a figure, or a dict of figures by column, got {'top1': None}",
        ),
        (dict(rows=[dict(name='a', config='b', metric=5)]), 'row 1: metric is a text, got 5'),
        (dict(rows=[dict(name='a', config='b', seed=-1)]), 'seed is a whole number from 0, got -1'),
    ],
)
def test_a_value_of_another_type_is_refused(tmp_path, content, message):
    rows = [dict(name='a', config='b'), dict(name='once', config='c', seed=0)]
    with pytest.raises(InputError, match=re.escape(message)):
        read_table(write_table(tmp_path, **{'title': 'T', 'rows': rows, **content}))


def test_two_rows_of_one_training_have_one_metric(tmp_path):
    rows = [
        dict(name='a', config=BASELINE),
        dict(name='b', config=BASELINE, metric='accuracy/top5'),
    ]
    table = read_table(write_table(tmp_path, title='T', rows=rows))
    with pytest.raises(InputError, match="rows 'a' and 'b' are the same training with different"):
        plan_runs(table, [0], tmp_path)


def test_a_row_with_a_seed_does_not_go_on_from_one_with_many(tmp_path):
    rows = [
        dict(name='a', config=BASELINE),
        dict(name='b', config=BASELINE, after='a', seed=0),
    ]
    with pytest.raises(
        InputError, match="row 'b' has a seed, and 'a', which it is after, has none"
    ):
        read_table(write_table(tmp_path, title='T', rows=rows))
