"""The runs of a table are tested on other images by a command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmpretrain.registry import MODELS

from mmmuse.datasets import BatchedDigits
from mmmuse.tables.record import read_records

from .blocks import DOCS, ROOT

CONFIG = f"""
_base_ = '{ROOT / 'configs' / 'demo' / 'resnet18_digits.py'}'
model = dict(backbone=dict(stem_channels=4, base_channels=4), head=dict(in_channels=32))
"""
RUN = dict(row='plain', seed=1, metric='accuracy/top1', commit='0a1b2c3', hardware='CPU')


def held_out(table: Path, into: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, DOCS / 'builder' / 'held_out.py', table, '--into', into]
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}
    return subprocess.run(
        [*map(str, command), '--cfg-options', 'test_dataloader.dataset.split=train'],
        capture_output=True,
        text=True,
        env=environment,
    )


def write_run(folder: Path, answer: int) -> None:
    """Write a run whose network takes each image for the same digit."""
    folder.mkdir(parents=True)
    config = folder / 'digits.py'
    config.write_text(CONFIG)
    model = MODELS.build(Config.fromfile(config).model)
    torch.nn.init.zeros_(model.head.fc.weight)
    model.head.fc.bias.data = 1.0 * (torch.arange(10) == answer)
    torch.save(dict(state_dict=model.state_dict(), meta={}), folder / 'epoch_2.pth')


@pytest.mark.slow
def test_the_last_checkpoint_of_each_new_run_is_tested(tmp_path):
    epochs = {'1': {'top1': 5.0}, '2': {'top1': 6.0, 'exit1': 4.0}}
    runs = [
        dict(RUN, folder=f'seed{seed}', seed=seed, epochs=epochs, command='mmmuse train')
        for seed in (1, 2)
    ]
    table, into = tmp_path / 'runs' / 'table.json', tmp_path / 'held_out.json'
    write_run(table.parent / 'seed2', answer=3)
    table.write_text(json.dumps(runs))
    known = dict(runs[0], epochs={'2': {'top1': 7.0}})
    into.write_text(json.dumps([known]))
    printed = held_out(table, into)
    share = 100 * np.mean(BatchedDigits('train').get_gt_labels() == 3)
    assert printed.returncode == 0, printed.stderr
    assert printed.stdout.splitlines()[-1] == f'plain, seed 2: {share:.2f}'
    records = read_records(into)
    assert records['seed1'].epochs == {2: {'top1': 7.0}}
    assert records['seed2'].epochs == {2: {'top1': pytest.approx(share, abs=1e-4)}}
    assert records['seed2'].command == (
        'mmmuse test seed2/digits.py seed2/epoch_2.pth --cfg-options test_dataloader.dataset.split=train'
    )


@pytest.mark.slow
def test_a_run_without_its_files_is_refused(tmp_path):
    table = tmp_path / 'table.json'
    table.write_text(json.dumps([dict(RUN, folder='seed1', epochs={'2': {'top1': 6.0}})]))
    refused = held_out(table, tmp_path / 'held_out.json')
    message = f'error: {tmp_path / "seed1"} has 0 configs, expected 1\n'
    assert (refused.returncode, refused.stderr) == (1, message)
    assert not (tmp_path / 'held_out.json').exists()
