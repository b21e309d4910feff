"""The table of estimators, and what an estimator that there is not brings in a config."""

import json

import pytest

from tests.test_tools.test_train import DISTILLED, SHORT

TOOL = 'benchmark/estimators.py'


def test_the_table_holds_each_correlations_value_and_every_estimate(tool, tmp_path):
    figures = tmp_path / 'figures.json'
    options = ['--steps', 20, '--batch-size', 16, '--dim', 1, '--rho', 0, 0.8, '--json', figures]
    finished = tool(TOOL, *options)
    assert finished.code == 0, finished.err
    assert 'InfoNCE at most 2.77' in ' '.join(finished.out.split())
    written = json.loads(figures.read_text())
    assert [row['rho'] for row in written['rows']] == [0.0, 0.8]
    # -0.5 log(1 - 0.64)
    assert [row['analytic'] for row in written['rows']] == pytest.approx([0, 0.510826], abs=1e-5)
    assert '0.511' in finished.out
    for row in written['rows']:
        assert list(row['estimates']) == [
            'Jensen-Shannon critic, NWJ bound',
            'InfoNCE',
            'Donsker-Varadhan',
            'NWJ',
        ]
        for estimate in row['estimates'].values():
            assert f'{estimate["mean"]:.3f} ± {estimate["standard_error"]:.3f}' in finished.out


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (['--rho', 0.5, 1], '--rho is between -1 and 1, got 1.0'),
        (['--dim', 0], '--dim is at least 1, got 0'),
        (['--steps', 0], '--steps is at least 1, got 0'),
        (['--batch-size', 1], '--batch-size is at least 2, got 1'),
        (['--seed', -1], '--seed is at least 0, got -1'),
        (['--json', 'nowhere/figures.json'], 'no folder nowhere to write --json into'),
    ],
)
def test_bad_flags_are_refused_before_anything_is_trained(tool, only_error, options, said):
    assert said in only_error(tool(TOOL, *options))


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (
            ['type=mmmuse.InfoNSE'],
            "estimator.type: mmmuse.InfoNSE is not in the mmpretrain::model registry; did you mean 'mmmuse.InfoNCE'",
        ),
        (
            ['type=mmmuse.SmallResNetCIFAR', 'depth=20'],
            'InformationEstimator, got SmallResNetCIFAR',
        ),
        (
            ['type=mmmuse.DonskerVaradhan', 'momentum=2'],
            'estimator.momentum is None or a number above 0 and at most 1, got 2',
        ),
        (
            ['type=mmmuse.InfoNCE', 'momentum=0.1'],
            "InfoNCE does not read the key 'momentum'",
        ),
    ],
)
def test_a_bad_estimator_is_refused_and_nothing_is_written(
    tool, only_error, tmp_path, options, said
):
    options = [f'model.head.discrepancy.estimator.{option}' for option in options]
    run = tmp_path / 'run'
    line = only_error(
        tool('train.py', DISTILLED, '--work-dir', run, '--cfg-options', *SHORT, *options)
    )
    assert said in line
    assert not run.exists()


def test_one_line_of_config_exchanges_the_estimator(tool, tmp_path):
    option = 'model.head.discrepancy.estimator.type=mmmuse.DonskerVaradhan'
    options = [*SHORT, option, 'train_cfg.max_epochs=1']
    finished = tool(
        'train.py', DISTILLED, '--work-dir', tmp_path / 'run', '--cfg-options', *options
    )
    assert finished.code == 0, finished.err
