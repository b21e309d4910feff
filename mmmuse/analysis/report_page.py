"""The report of a run as one HTML page that loads nothing."""

from .html_page import Content, Html, element, facts, page
from .report_charts import (
    accuracy_section,
    cost_section,
    early_exit_section,
    information_section,
    picture_section,
)
from .report_content import Report
from .run_record import RunRecord
from .run_settings import settings_of

_MOST_CONFIG = 200_000  # Characters of a config that are shown.


def render(report: Report) -> str:
    """Return the page."""
    name = report.record.work_dir.resolve().name
    return page(
        f'{name}: report of a run',
        element('h1', name),
        _status(report),
        _summary(report),
        _failure(report.record),
        _section('Settings', _settings(report)),
        _section('Accuracy of every exit during training', accuracy_section(report)),
        _section('Accuracy and cost of every exit', cost_section(report)),
        _section('Information and gradients during training', information_section(report)),
        _section('Early exit', early_exit_section(report)) if not _is_detector(report) else None,
        _section('Detections', picture_section(report)) if _is_detector(report) else None,
        _section('Command and environment', _environment(report)),
    )


def _section(title: str, content: Content) -> Html:
    return element('section', element('h2', title), content)


def _is_detector(report: Report) -> bool:
    metric = report.record.evaluations.metric or ''
    scope = report.record.config.get('default_scope')
    return bool(report.pictures) or scope == 'mmdet' or metric.startswith('coco/')


def _status(report: Report) -> Html:
    record, at = report.record, report.record.progress
    of = '' if at.total is None else f' of {at.total}'
    if at.is_finished:
        text = f'Finished: {at.unit} {at.done}{of}.'
    else:
        ended = 'Failed' if record.errors else 'Not finished'
        ended = 'Interrupted' if record.errors[-1:] == ('interrupted',) else ended
        text = f'{ended}: {at.unit} {at.done}{of} was logged.'
    count = len(record.starts)
    started = f' Started {count} times.' if count > 1 else ''
    return element('p', text + started, class_='faint' if at.is_finished else 'bad')


def _summary(report: Report) -> Html:
    """Return the figures that matter most, in boxes."""
    last = report.record.evaluations.last
    unit = report.record.progress.unit
    boxes = [
        (column.title, report.shown(column.points.get(last)))
        for column in report.columns
        if not column.title.startswith('exit') or column.exit == report.chosen_number
    ]
    boxes = [(f'{title}, {report.metric}', text) for title, text in boxes]
    if report.baseline:
        boxes += [(f'baseline, {report.metric}', report.shown(report.baseline.accuracy))]
    if report.chosen:
        chosen = 'none' if report.chosen_number is None else f'exit {report.chosen_number}'
        boxes += [('chosen exit', chosen)]
    if last is not None:
        boxes += [('last evaluation', f'{unit} {last}')]
    found = [element('div', element('b', text), title) for title, text in boxes]
    return element('div', found, class_='facts') if found else Html('')


def _failure(record: RunRecord) -> Html | None:
    """Return the errors of a run that did not finish, or the end of its log."""
    if record.progress.is_finished:
        return None
    log = record.starts[-1].log
    lines = log.errors or log.last_lines
    title = 'Errors' if log.errors else 'Last lines of the log'
    return _section(title, element('pre', '\n'.join(lines) or 'nothing was logged'))


def _settings(report: Report) -> Content:
    groups = [
        element('div', element('h3', name), facts(rows))
        for name, rows in settings_of(report.record.config).items()
    ]
    text = report.config_text
    if len(text) > _MOST_CONFIG:
        text = f'{text[:_MOST_CONFIG]}\n(cut)'
    whole = element('details', element('summary', 'Whole config'), element('pre', text))
    return (
        [element('div', groups, class_='groups'), whole] if text else 'The config was not dumped.'
    )


def _environment(report: Report) -> Content:
    record = report.record
    commands = [
        (start.name, start.log.command or 'the command was not logged') for start in record.starts
    ]
    environment = list(record.starts[-1].log.environment.items())
    return [
        element('h3', 'Starts'),
        facts(commands),
        element('h3', 'Environment of the last start'),
        facts(environment) if environment else element('p', 'It was not logged.'),
        element('h3', 'Checkpoints'),
        element('p', ', '.join(record.checkpoints) or 'none'),
    ]
