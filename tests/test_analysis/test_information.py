import pytest

from mmmuse.analysis.information import curves_of, peers_of, read_information, read_training
from mmmuse.errors import InputError

from .logs import evaluation, information, training, write_records


def write_log(work_dir, name: str, points: dict[int, float], end: str = '') -> None:
    records = [information(step, mi_loss_1=value, xi_1=9.0) for step, value in points.items()]
    write_records(work_dir, name, records, end)


def test_a_resumed_run_goes_on_where_the_earlier_one_stopped(tmp_path):
    write_log(tmp_path, '1', {2: 0.5, 4: 0.4, 5: 0.3})  # Stopped at 5, after its checkpoint of 4.
    write_log(tmp_path, '2', {6: 0.2, 8: 0.1})
    assert read_information(tmp_path) == {'mi_loss_1': {2: 0.5, 4: 0.4, 5: 0.3, 6: 0.2, 8: 0.1}}


def test_a_run_from_scratch_replaces_a_longer_earlier_one(tmp_path):
    write_log(tmp_path, '1', {2: 0.5, 4: 0.4, 6: 0.3})
    write_log(tmp_path, '2', {2: 0.9, 3: 0.8})
    assert read_information(tmp_path) == {'mi_loss_1': {2: 0.9, 3: 0.8}}


def test_half_a_last_line_is_passed_over_and_another_damaged_line_is_named(tmp_path):
    write_log(tmp_path, '1', {2: 0.5}, end='{"information/mi')
    assert read_information(tmp_path) == {'mi_loss_1': {2: 0.5}}
    write_log(tmp_path, '2', {4: 0.5}, end='{"informa\n{"step": 5}')
    with pytest.raises(InputError, match='damaged at line 2'):
        read_information(tmp_path)


def test_names_of_earlier_logs_are_read_under_those_of_today(tmp_path):
    write_records(tmp_path, '1', [information(5, mi_1=1.0, a__si_2=0.5, mi_1_2=0.25)])
    assert read_information(tmp_path) == {
        'a.si_loss_2': {5: 0.5},
        'mi_loss_1': {5: 1.0},
        'mi_loss_1_2': {5: 0.25},
    }


def test_the_own_loss_is_the_students_of_training_lines_alone(tmp_path):
    records = [
        training(10, loss=20.0, loss_student=4.0, exit1__loss_ce=4.5, loss_muse=5.0),
        evaluation(11, loss=99.0),
        training(20, loss=18.0, loss_student=3.0, exit1__loss_ce=4.0, loss_muse=4.0),
    ]
    write_records(tmp_path, '1', records)
    assert read_training(tmp_path) == {'loss': {10: 4.0, 20: 3.0}}


def test_the_own_loss_of_a_plain_network_is_its_loss_and_of_peers_each_ones(tmp_path):
    plain = write_records(tmp_path / 'plain', '1', [training(10, loss=3.0, loss_cls=2.0)])
    assert read_training(plain) == {'loss': {10: 3.0}}
    lines = [training(10, loss=9.0, a__loss=4.0, a__loss_muse=1.0, b__loss=3.5)]
    online = read_training(write_records(tmp_path / 'online', '1', lines))
    assert online == {'a.loss': {10: 4.0}, 'b.loss': {10: 3.5}}
    assert peers_of(online) == ['a', 'b']


def test_the_sum_of_a_distilled_detector_is_not_its_own_loss(tmp_path):
    lines = [
        training(10, loss=9.0, loss_cls=4.0, loss_muse=5.0),
        training(20, loss=9.0, loss_cls=4.0, exit1__loss_cls=5.0, exit1__loss=5.0),
        information(20, mi_loss_1=1.0),
    ]
    assert read_training(write_records(tmp_path, '1', lines)) == {'mi_loss_1': {20: 1.0}}
    for added in ('loss_vid', 'loss_l2', 'a__loss_muse', 'loss_adversarial'):
        line = training(10, loss=9.0, loss_cls=4.0, mi_loss_1=1.0, **{added: 5.0})
        run = write_records(tmp_path / added, '1', [line, information(20, mi_loss_1=1.0)])
        assert read_training(run) == {'mi_loss_1': {20: 1.0}}


def test_the_own_loss_of_a_distilled_detector_is_its_logged_total(tmp_path):
    line = training(10, loss=9.0, loss_cls=1.0, loss_bbox=3.0, own_total=4.0, loss_muse=5.0)
    assert read_training(write_records(tmp_path, '1', [line])) == {'loss': {10: 4.0}}
    line = training(10, loss=9.0, a__loss_cls=1.0, a__own_total=4.0, b__own_total=2.0)
    online = read_training(write_records(tmp_path / 'online', '1', [line]))
    assert online == {'a.loss': {10: 4.0}, 'b.loss': {10: 2.0}}


def test_curves_of_a_kind_are_in_the_order_of_the_modules(tmp_path):
    scalars = {f'mi_loss_{i}': float(i) for i in (10, 2, 1)} | {'mi_loss_1_2': 1.5}
    curves = read_information(write_records(tmp_path, '1', [information(5, **scalars)]))
    assert list(curves_of(curves, None, 'mi')) == ['1', '1_2', '2', '10']
    assert curves_of(curves, None, 'si') == curves_of(curves, None, 'ratio') == {}


def test_a_log_without_information_or_without_training_is_refused(tmp_path):
    folder = write_records(tmp_path, '1', [evaluation(1, accuracy=9.0)])
    with pytest.raises(InputError, match='logged no MI or SI: it has no MUSELoss'):
        read_information(folder)
    with pytest.raises(InputError, match='logged no training step'):
        read_training(folder)
    with pytest.raises(InputError, match='holds no log of a run'):
        read_training(tmp_path / 'nothing')
