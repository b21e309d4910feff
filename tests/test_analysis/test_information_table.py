import pytest

from mmmuse.analysis.information_table import information_table, markdown_table, write_csv
from mmmuse.errors import InputError

MUSE = {
    'mi_loss_1': {10: 1.3, 20: 1.0},
    'mi_loss_2': {10: 1.2, 20: 0.5},
    'si_loss_1': {10: 1.1, 20: 0.75},
    'gradient_ratio': {10: 0.0123456, 20: 0.5},
    'loss': {7: 4.0, 14: 3.0, 25: 2.0},
}
PLAIN = {'loss': {5: 4.5, 12: 3.5}}
ONLINE = {'a.mi_loss_1': {4: 1.25}, 'a.loss': {4: 2.5}, 'b.loss': {4: 2.25}}


def test_each_figure_is_of_the_last_step_logged_up_to_the_one_asked_for():
    (muse, plain) = information_table({'muse': MUSE, 'plain': PLAIN}, step=19)
    assert muse == {
        'run': 'muse',
        'step': '10, 14',
        'MI loss 1': 1.3,
        'MI loss 2': 1.2,
        'SI loss 1': 1.1,
        'gradient ratio': 0.0123456,
        'own loss': 3.0,
    }
    assert list(plain) == list(muse)
    assert (plain['step'], plain['own loss']) == ('12', 3.5)
    assert plain['MI loss 1'] is None
    assert plain['gradient ratio'] is None


def test_a_step_that_was_logged_counts_and_the_last_one_by_default():
    (row,) = information_table({'muse': MUSE}, step=20)
    assert (row['MI loss 1'], row['gradient ratio'], row['own loss']) == (1.0, 0.5, 3.0)
    (row,) = information_table({'muse': MUSE})
    assert (row['step'], row['MI loss 2'], row['own loss']) == ('20, 25', 0.5, 2.0)


def test_each_peer_has_a_row():
    rows = information_table({'pair': ONLINE})
    assert [row['run'] for row in rows] == ['pair: a', 'pair: b']
    assert [row['MI loss 1'] for row in rows] == [1.25, None]
    assert [row['own loss'] for row in rows] == [2.5, 2.25]


def test_a_run_that_logged_nothing_so_early_is_refused():
    with pytest.raises(InputError, match='plain logged nothing up to step 4: take a later --step'):
        information_table({'plain': PLAIN}, step=4)


def test_markdown_has_a_dash_for_what_is_missing_and_csv_nothing(tmp_path):
    rows = information_table({'a|b': MUSE, 'plain': PLAIN}, step=19)
    assert markdown_table(rows).splitlines() == [
        '| run | step | MI loss 1 | MI loss 2 | SI loss 1 | gradient ratio | own loss |',
        '| --- | --- | --- | --- | --- | --- | --- |',
        r'| a\|b | 10, 14 | 1.300 | 1.200 | 1.100 | 0.0123 | 3.000 |',
        '| plain | 12 | - | - | - | - | 3.500 |',
    ]
    write_csv(rows, tmp_path / 'table.csv')
    assert (tmp_path / 'table.csv').read_text() == (
        'run,step,MI loss 1,MI loss 2,SI loss 1,gradient ratio,own loss\n'
        'a|b,"10, 14",1.3,1.2,1.1,0.0123456,3\n'
        'plain,12,,,,,3.5\n'
    )
