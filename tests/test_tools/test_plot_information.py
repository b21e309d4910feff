import pytest

from ..test_analysis.logs import information, training, write_records


@pytest.fixture
def runs(tmp_path):
    """Work dirs of a run with MUSE, a plain one, and one of two peers."""
    muse = [
        training(20, loss=20.0, loss_student=4.0, loss_muse=2.0),
        information(20, mi_loss_1=1.25, si_loss_1=1.5, gradient_ratio=0.125),
        training(40, loss=18.0, loss_student=3.0, loss_muse=1.0),
        information(40, mi_loss_1=0.75, si_loss_1=0.5, gradient_ratio=0.25),
    ]
    peers = [training(30, loss=8.0, a__loss=4.5, b__loss=3.5), information(30, a__mi_loss_1=1.125)]
    return [
        write_records(tmp_path / 'muse', '1', muse),
        write_records(tmp_path / 'plain', '1', [training(30, loss=2.5)]),
        write_records(tmp_path / 'online', '1', peers),
    ]


def test_the_table_has_a_row_for_each_network_and_no_picture(tool, runs, tmp_path):
    csv = tmp_path / 'table.csv'
    command = ('analysis/plot_information.py', *runs, '--table', '--step', 39, '--csv', csv)
    finished = tool(*command)
    assert finished.code == 0, finished.err
    assert finished.out.splitlines()[-6:] == [
        '| run | step | MI loss 1 | SI loss 1 | gradient ratio | own loss |',
        '| --- | --- | --- | --- | --- | --- |',
        '| muse | 20 | 1.250 | 1.500 | 0.125 | 4.000 |',
        '| plain | 30 | - | - | - | 2.500 |',
        '| online: a | 30 | 1.125 | - | - | 4.500 |',
        '| online: b | 30 | - | - | - | 3.500 |',
    ]
    assert csv.read_text().splitlines()[2] == 'plain,30,,,,2.5'
    assert list(tmp_path.glob('*.png')) == []


def test_the_table_and_the_picture_are_written_together_where_both_are_asked_for(
    tool, runs, tmp_path, lines_of_progress
):
    out = tmp_path / 'drawn.png'
    finished = tool('analysis/plot_information.py', runs[0], '--table', '--out', out)
    assert finished.code == 0, finished.err
    assert 'reading the logs and drawing: ' in finished.err
    assert '| muse | 40 | 0.750 | 0.500 | 0.25 | 3.000 |' in finished.out.splitlines()
    assert out.read_bytes().startswith(b'\x89PNG')


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--step', 30], 'add --table'),
        (['--csv', 'x.csv'], 'add --table'),
        (['--table', '--csv', 'nowhere/x.csv'], 'no folder nowhere to write into'),
        (['--table', '--step', 19], 'muse logged nothing up to step 19'),
        (['--table', '--titles', 'one'], 'got 1 titles for 3 runs'),
        (['--out', 'drawn.png'], 'logged no MI or SI'),
        (['--out', 'drawn.foo'], '--out is a picture (.png, .pdf, .svg, .jpg, ...), got drawn.foo'),
        (['--out', 'drawn'], '--out is a picture (.'),
        (['--out', 'docs'], 'docs is a folder; name a file'),
        (['--table', '--csv', 'docs'], 'docs is a folder; name a file'),
    ],
)
def test_bad_input_is_one_line(tool, only_error, runs, flags, message):
    assert message in only_error(tool('analysis/plot_information.py', *runs, *flags))


def test_a_folder_without_a_log_is_named(tool, only_error, tmp_path):
    error = only_error(tool('analysis/plot_information.py', tmp_path, '--table'))
    assert f'{tmp_path} holds no log of a run' in error
