"""The runs of a table."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config

from mmmuse.checkpoints.config_file import read_config
from mmmuse.checkpoints.network_config import packaged_config
from mmmuse.command_line.config import load_config
from mmmuse.command_line.option_values import written_value
from mmmuse.errors import InputError

from .schedule import scaled_schedule

_SHIPPED = 'mmmuse::'  # The folder "configs" of a clone.
_KEYS = {'title', 'rows', 'options', 'metric', 'caption', 'references'}
_ROW_KEYS = {'name', 'config', 'paper', 'options', 'metric', 'after', 'seed'}
_AFTER = '{after}'  # In an option: the last checkpoint of the run that this one goes on from.


@dataclass(frozen=True)
class Row:
    """One row: a config, overrides of its keys, and the paper's figures.

    Attributes:
        name: As printed.
        config: Path of the config.
        paper: The paper's figures by column: ``'top1'`` for the full network,
            ``'exit1'``, ... for its exits, a peer's name for each of several networks.
        options: Overrides of config keys, those of the table included.
        metric: Of the full network, as MMEngine logs it, higher is better; of several networks their
            mean, ``'average/accuracy/top1'``.
        after: Name of a row before it whose run with the same seed is finished first. ``{after}`` in an
            option is the checkpoint of its last epoch.
        seed: The only one with which it is trained, such as a teacher that all students have; None
            for those of the table.
    """

    name: str
    config: str
    paper: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    metric: str = 'accuracy/top1'
    after: str | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Table:
    """A named list of rows; see ``configs/tables``.

    Attributes:
        title: As printed.
        rows: At least one, with different names.
        caption: Text below the title.
        references: Names of rows that every other one is compared with.
    """

    title: str
    rows: tuple[Row, ...]
    caption: str = ''
    references: tuple[str, ...] = ()


@dataclass(frozen=True)
class Run:
    """One training: a row with a seed.

    Attributes:
        row: The row.
        seed: The seed.
        work_dir: Its folder.
        epochs: How many it trains.
        options: Every override, the seed included.
        after: Folder of the run that is finished first, if there is one.
    """

    row: Row
    seed: int
    work_dir: Path
    epochs: int
    options: dict[str, Any]
    after: Path | None = None

    @property
    def name(self) -> str:
        """Row and seed, for messages."""
        return f'{self.row.name}, seed {self.seed}'

    @property
    def checkpoint(self) -> Path:
        """Of the last epoch, which later runs go on from."""
        return self.work_dir / _checkpoint(self.epochs)

    def arguments(self) -> list[str]:
        """Return the arguments of ``mmmuse train``."""
        flags = ['--work-dir', str(self.work_dir), '--resume', '--cfg-options']
        options = [f'{key}={written_value(value)}' for key, value in self.options.items()]
        return [self.row.config, *flags, *options]


def read_table(path: str) -> Table:
    """Read a table's file, a Python config with ``title`` and ``rows``.

    Args:
        path: Of the file, or ``mmmuse::tables/file.py``, whose rows are configs of mmmuse as well.

    Raises:
        InputError: If it is missing, not a table, or two rows have the same name.
    """
    if '::' not in path and not Path(path).is_file():
        raise InputError(f'no table {path}')
    config = packaged_config(path) if '::' in path else read_config(path)
    unknown = sorted({key for key in config if not key.startswith('_')} - _KEYS)
    if unknown:
        raise InputError(f'{path} is not a table: unknown keys {", ".join(unknown)}')
    has_rows = isinstance(config.get('rows'), (list, tuple)) and config.rows
    if not has_rows or not isinstance(config.get('title'), str):
        raise InputError(f'{path} is not a table: it needs a title and rows')
    for key, kind in (('options', dict), ('metric', str), ('caption', str), ('references', list)):
        if not isinstance(config.get(key, kind()), kind):
            raise InputError(f'{path}: {key} is a {kind.__name__}, got {config[key]!r}')
    options, metric = config.get('options', {}), config.get('metric', Row.metric)
    rows = tuple(_read_row(path, i, row, options, metric) for i, row in enumerate(config.rows, 1))
    names = [row.name for row in rows]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f'{path}: two rows are named {name!r}')
    by_name = {row.name: row for row in rows}
    for i, row in enumerate(rows):
        if row.after is not None and row.after not in names[:i]:
            raise InputError(
                f'{path}: row {row.name!r} is after {row.after!r}, which is no row before it'
            )
        if row.after is not None and row.seed is not None and by_name[row.after].seed is None:
            raise InputError(
                f'{path}: row {row.name!r} has a seed, and {row.after!r}, which it is after, has none'
            )
    references = config.get('references', ())
    for name in references:
        if not isinstance(name, str) or name not in by_name:
            raise InputError(f'{path}: references has {name!r}, which is no row')
        if by_name[name].seed is not None:
            raise InputError(f'{path}: references has {name!r}, a row with a seed of its own')
    return Table(
        config.title, rows, config.get('caption', '').strip(), tuple(dict.fromkeys(references))
    )


def _read_row(path: str, number: int, row: dict, options: dict, metric: str) -> Row:
    if not isinstance(row, dict) or not {'name', 'config'} <= row.keys() <= _ROW_KEYS:
        raise InputError(
            f'{path}, row {number}: a row is dict(name=..., config=...) and may have paper, after, '
            f'seed, options and metric, got {dict(row) if isinstance(row, dict) else row!r}'
        )
    for key in ('name', 'config', 'metric', 'after'):
        if not isinstance(row.get(key, ''), str):
            raise InputError(f'{path}, row {number}: {key} is a text, got {row[key]!r}')
    if not isinstance(row.get('options', {}), dict):
        raise InputError(f'{path}, row {number}: options is a dict, got {row["options"]!r}')
    if type(row.get('seed', 0)) is not int or row.get('seed', 0) < 0:
        raise InputError(
            f'{path}, row {number}: seed is a whole number from 0, got {row["seed"]!r}'
        )
    paper = _paper(f'{path}, row {number}', row.get('paper', {}))
    options = {**options, **row.get('options', {})}
    config = row['config']
    if path.startswith(_SHIPPED):
        config = config.replace('configs/', _SHIPPED, 1)
    more = {key: row[key] for key in ('after', 'seed') if key in row}
    return Row(row['name'], config, paper, options, row.get('metric', metric), **more)


def _paper(place: str, paper: Any) -> dict[str, str]:
    """Return the paper's figures as texts, by column."""
    figures = paper if isinstance(paper, dict) else {'top1': paper}
    for figure in figures.values():
        if isinstance(figure, bool) or not isinstance(figure, (str, int, float)):
            raise InputError(
                f'{place}: paper is a figure, or a dict of figures by column, got {paper!r}'
            )
    return {str(column): str(figure) for column, figure in figures.items()}


def plan_runs(
    table: Table,
    seeds: Sequence[int],
    work_dir: Path,
    epochs: int | None = None,
    options: dict[str, Any] | None = None,
) -> list[Run]:
    """Return the runs of a table, ordered by seed, then by row.

    Args:
        table: The table.
        seeds: Different ones, at least one; a row with a seed of its own has one run.
        work_dir: Folder of the runs. Each has a folder named after its config and a hash of the
            config's content, overrides included: a run that two tables share is trained once,
            and one whose config has changed is trained again.
        epochs: Epochs of every run, with its schedule scaled; None for each config's own.
        options: Overrides of config keys for every row.

    Raises:
        InputError: If a config is missing or cannot be read (the message names the row), a seed is given twice, or ``epochs`` is below 1.
    """
    if not seeds or len(set(seeds)) < len(seeds):
        raise InputError(f'a table needs different seeds, at least one, got {list(seeds)}')
    if epochs is not None and epochs < 1:
        raise InputError(f'--epochs is at least 1, got {epochs}')
    planned: dict[str, _Planned] = {}
    for row in table.rows:
        before = None if row.after is None else planned[row.after]
        planned[row.name] = _resolved(row, epochs, options or {}, before)
    _check_metrics(planned)
    runs = [
        _run(planned[row.name], seed, work_dir, planned.get(row.after))
        for seed in seeds
        for row in table.rows
    ]
    return list({(run.row.name, run.seed): run for run in runs}.values())


def _check_metrics(planned: dict[str, '_Planned']) -> None:
    """Refuse two rows of one training with different metrics: a run has one record."""
    by_folder: dict[Path, Row] = {}
    for row, folder, *_ in planned.values():
        other = by_folder.setdefault(folder, row)
        if other.metric != row.metric:
            raise InputError(
                f'rows {other.name!r} and {row.name!r} are the same training with different metrics'
            )


class _Planned(NamedTuple):
    """The runs of a row: their folder, their epochs, and all overrides but the seed."""

    row: Row
    folder: Path
    epochs: int
    options: dict[str, Any]

    def folder_of(self, seed: int) -> Path:
        """The folder of the run that a table has with this seed."""
        return self.folder / f'seed{self.seed_of(seed)}'

    def seed_of(self, seed: int) -> int:
        """Its own seed, if it has one."""
        return seed if self.row.seed is None else self.row.seed


def _run(planned: _Planned, seed: int, work_dir: Path, before: _Planned | None) -> Run:
    after, options, own = None, planned.options, planned.seed_of(seed)
    if before is not None:
        after = work_dir / before.folder_of(own)
        options = _with_file(options, after / _checkpoint(before.epochs))
    options = {**options, 'randomness.seed': own}
    folder = work_dir / planned.folder_of(seed)
    return Run(planned.row, own, folder, planned.epochs, options, after)


def _checkpoint(epochs: int) -> str:
    """Return the name of the file of the last epoch."""
    return f'epoch_{epochs}.pth'


def _with_file(options: dict[str, Any], file: Path) -> dict[str, Any]:
    return {key: _with_path(value, str(file)) for key, value in options.items()}


def _with_path(value: Any, path: str) -> Any:
    """Put the path into a text, or into the texts of a list, a tuple or a dict."""
    if isinstance(value, str):
        return value.replace(_AFTER, path)
    if isinstance(value, (list, tuple)):
        return type(value)(_with_path(item, path) for item in value)
    if isinstance(value, dict):
        return {key: _with_path(item, path) for key, item in value.items()}
    return value


def _resolved(row: Row, epochs: int | None, options: dict, before: _Planned | None) -> _Planned:
    """Return the runs of a row, which go on from those of another one, if there is one."""
    resolved = {**row.options, **options}
    try:
        if epochs is not None:
            schedule = scaled_schedule(load_config(row.config, row.options), epochs)
            resolved = {**row.options, **schedule, **options, 'train_cfg.max_epochs': epochs}
        known = resolved
        if before is not None:  # The folder's name has a hash, which is then part of this one.
            known = _with_file(resolved, before.folder / _checkpoint(before.epochs))
        config = load_config(row.config, known)
    except InputError as error:
        raise InputError(f'row {row.name!r}: {error}') from error
    total = (config.get('train_cfg') or {}).get('max_epochs')
    if not isinstance(total, int):
        raise InputError(f'row {row.name!r}: {row.config} has no train_cfg.max_epochs')
    return _Planned(row, _folder(row.config, config), total, resolved)


def _folder(path: str, config: Config) -> Path:
    """Return a folder named after the config and a hash of its content."""
    content = json.dumps(config.to_dict(), sort_keys=True, default=str)
    digest = hashlib.sha256(content.encode()).hexdigest()[:8]
    parts = Path(path.replace(_SHIPPED, 'configs/')).with_suffix('').parts
    inside = parts[1:-1] if parts[0] == 'configs' else ()
    return Path(*inside, f'{parts[-1]}-{digest}')
