import json

import pytest

from mmmuse.analysis.information import read_information
from mmmuse.errors import InputError


def write_log(work_dir, name: str, points: dict[int, float], end: str = '') -> None:
    folder = work_dir / name / 'vis_data'
    folder.mkdir(parents=True)
    lines = [
        json.dumps({'information/mi_loss_1': value, 'information/xi_1': 9.0, 'step': step})
        for step, value in points.items()
    ]
    (folder / 'scalars.json').write_text('\n'.join([*lines, end]))


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
