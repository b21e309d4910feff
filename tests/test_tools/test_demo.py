def test_the_demo_prints_every_exit_beside_the_baseline_and_draws_the_curves(tool, tmp_path):
    for _ in range(2):  # A second run starts over in the same folder.
        finished = tool('demo.py', '--work-dir', tmp_path, '--epochs', 1)
        assert finished.code == 0, finished.err
    for i in range(1, 5):
        assert f'MI x SI, exit {i}' in finished.out
    assert 'baseline' in finished.out
    assert str(tmp_path / 'information.png') in finished.out.replace('\n', '')
    assert (tmp_path / 'information.png').stat().st_size > 1000
