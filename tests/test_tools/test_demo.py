import json
import re

import pytest


@pytest.mark.usefixtures('half_of_the_digits', 'lines_of_progress')
def test_the_demo_prints_every_exit_beside_the_baseline_and_draws_the_curves(tool, tmp_path):
    for _ in range(2):  # A second run starts over in the same folder.
        finished = tool('demo.py', '--work-dir', tmp_path, '--epochs', 1)
        assert finished.code == 0, finished.err
    assert 'training baseline: ' in finished.err
    assert 'training MI x SI: 2 of ' in finished.err
    assert 'training' not in finished.out
    for i in range(1, 5):
        assert f'MI x SI, exit {i}' in finished.out
    assert 'baseline' in finished.out
    (log,) = tmp_path.glob('MIxSI/*/vis_data/scalars.json')
    last = [json.loads(line) for line in log.read_text().splitlines() if 'information' in line][-1]
    for i in range(1, 4):
        loss = last[f'information/mi_loss_{i}']
        assert re.search(rf'module {i} +{loss:.3f} +1\.386', finished.out)
    assert str(tmp_path / 'information.png') in finished.out.replace('\n', '')
    assert (tmp_path / 'information.png').stat().st_size > 1000
