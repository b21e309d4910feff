"""Test the last checkpoints of a table's runs on other images, and write records of that.

``python docs/builder/held_out.py work_dirs/tables/fitted_100x50.json --into docs/results/fitted/held_out_100x50.json
--cfg-options test_dataloader.dataset.split=train`` tests each run of the table that is not in the file yet.
``mmmuse table configs/tables/fitted_100x50.py --report --records FILE --work-dir NEW_FOLDER`` then prints means and
differences, as of the table itself.
"""

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mmmuse.analysis.evaluations import percent_factor

# A run as the records of a table have it: folder, row, seed, metric, epochs and others.
Run = Mapping[str, Any]


def held_out(
    runs: Iterable[Run], folder: Path, done: Sequence[Run], options: Sequence[str]
) -> Iterator[Run]:
    """Yield the record of each run of a table that has none yet.

    It has the metric of the full network in the last epoch, and the command of the test. Commit and hardware
    are those of the training.

    Args:
        runs: Of the table.
        folder: Of the table.
        done: Records that are there already.
        options: For ``--cfg-options`` of ``mmmuse test``.

    Raises:
        ValueError: If the folder of a run does not contain exactly one config, or a test fails.
    """
    tested = {run['folder'] for run in done}
    for run in runs:
        if run['folder'] not in tested:
            yield _tested(run, folder, options)


def _tested(run: Run, folder: Path, options: Sequence[str]) -> Run:
    epoch = max(run['epochs'], key=int)
    arguments = [
        _config(folder / run['folder']),
        folder / run['folder'] / f'epoch_{epoch}.pth',
    ]
    command = ['test', *map(str, arguments), '--cfg-options', *options]
    with TemporaryDirectory() as out:
        metrics = Path(out, 'metrics.json')
        files = ['--work-dir', out, '--out', str(metrics), '--out-item', 'metrics']
        finished = subprocess.run(
            [sys.executable, '-m', 'mmmuse', *command, *files], capture_output=True, text=True
        )
        if finished.returncode:
            raise ValueError(f'mmmuse {shlex.join(command)}: {finished.stderr.strip()}')
        value = json.loads(metrics.read_text(encoding='utf-8'))[run['metric']]
    unit = percent_factor(run['metric']) or 1
    short = [str(path.relative_to(folder)) for path in arguments]
    return {
        **run,
        'epochs': {epoch: {'top1': unit * value}},
        'command': f'mmmuse {shlex.join(["test", *short, "--cfg-options", *options])}',
        'at_end': {},
    }


def _config(folder: Path) -> Path:
    configs = [path for path in folder.glob('*.py') if not path.name.startswith('student.')]
    if len(configs) != 1:
        raise ValueError(f'{folder} has {len(configs)} configs, expected 1')
    return configs[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('table', type=Path, help='records of the table, in the folder of its runs')
    parser.add_argument('--into', type=Path, required=True, metavar='FILE', help='records')
    parser.add_argument('--cfg-options', nargs='+', required=True, metavar='KEY=VALUE')
    args = parser.parse_args()
    try:
        runs = json.loads(args.table.read_text(encoding='utf-8'))
        done = json.loads(args.into.read_text(encoding='utf-8')) if args.into.exists() else []
        for record in held_out(runs, args.table.parent, done, args.cfg_options):
            done.append(record)
            args.into.write_text(json.dumps(done, indent=1) + '\n', encoding='utf-8')
            (last,) = record['epochs'].values()
            print(f'{record["row"]}, seed {record["seed"]}: {last["top1"]:.2f}', flush=True)
    except (OSError, ValueError, KeyError) as error:
        print(f'error: {error}', file=sys.stderr)
        sys.exit(1)


if __name__ == '__main__':
    main()
