"""Sections of a report with a chart, and a table of the same figures beside it."""

import math

from .early_exit_table import accuracy_key, accuracy_label, early_exit_panels
from .epochs_figure import AccuracyCurve, epochs_figure
from .exit_figure import Point, exit_figure
from .html_page import Content, element, embedded_figure, embedded_png, table
from .information import Curves, curves_of, peers_of
from .information_figure import information_figure
from .report_content import NOT_MEASURED, Report, number

_MOST_ROWS = 100  # Of a table of training steps.
_KINDS = {'mi': 'MI {} (nats)', 'si': 'SI {} (nats)', 'ratio': 'gradient ratio'}


def accuracy_section(report: Report) -> Content:
    """Return the accuracy of every exit in each evaluation."""
    evaluations, unit = report.record.evaluations, report.record.progress.unit
    columns = report.columns
    if not columns:
        return element('p', f'Accuracy: {NOT_MEASURED}. The run logged no evaluation.')
    curves = {
        column.title: AccuracyCurve(
            column.points, column.exit is not None and column.exit == report.chosen_number
        )
        for column in columns
    }
    title = f'{evaluations.title} by {unit}'
    last = ', '.join(f'{c.title} {report.shown(c.points.get(evaluations.last))}' for c in columns)
    alt = f'Curves of {report.metric} by {unit}. In the last evaluation: {last}.'
    chart = embedded_figure(
        lambda: epochs_figure(curves, title, unit, report.metric, report.baseline), alt
    )
    rows = [
        [str(step), *(report.shown(column.points.get(step)) for column in columns)]
        for step in evaluations.steps()
    ]
    of_unit = f' ({evaluations.unit})' if evaluations.unit else ''
    values = table([unit, *(column.title + of_unit for column in columns)], rows)
    best_of = min if evaluations.lower_is_better else max
    best = [
        f'{c.title}: {report.shown(best_of(c.points.values()))} in {unit} '
        f'{best_of(c.points, key=c.points.__getitem__)}'
        for c in columns
        if c.points
    ]
    note = element('p', f'Best of each: {"; ".join(best)}.', class_='faint')
    return [element('div', chart, values, class_='pair'), note]


def cost_section(report: Report) -> Content:
    """Return accuracy and cost of every exit, and the chosen one."""
    if not report.accuracy:
        return element(
            'p', f'The run has no exits with an accuracy; their cost was {NOT_MEASURED}.'
        )
    numbers = sorted(report.accuracy)
    full = report.costs.get(numbers[-1])
    rows = []
    for n in numbers:
        cost = report.costs.get(n)
        shares = cost and full and full.macs and 100 * cost.macs / full.macs
        rows.append(
            [
                f'{n}{" (full)" if n == numbers[-1] else ""}',
                cost.module if cost else NOT_MEASURED,
                report.shown(report.accuracy[n]),
                number(cost and cost.params / 1e6, 3),
                number(cost and cost.macs / 1e6, 2),
                number(shares, 1),
            ]
        )
    titles = ['exit', 'module', report.metric]
    titles += ['parameters (M)', 'multiply-adds (M)', '% of full']
    marked = numbers.index(report.chosen_number) if report.chosen_number in numbers else None
    values = table(titles, rows, marked)
    points = [
        Point(report.costs[n].macs / 1e6, report.accuracy[n], n)
        for n in numbers
        if n in report.costs
    ]
    text = [element('p', _chosen(report)), element('p', report.cost_note, class_='faint')]
    if not points:
        return [values, text]
    listed = ', '.join(
        f'exit {p.exit} {report.shown(p.accuracy)} at {p.cost:.2f} M' for p in points
    )
    chart = embedded_figure(
        lambda: exit_figure(
            {'multiply-adds (M)': {'exits': points}},
            'Accuracy of every exit against its cost',
            report.baseline,
            report.chosen_number,
            report.metric,
        ),
        f'{report.metric} against multiply-adds: {listed}.',
    )
    return [element('div', chart, values, class_='pair even'), text]


def _chosen(report: Report) -> Content:
    if report.chosen is None:
        return None
    n = report.chosen_number
    found = 'no exit reaches it.' if n is None else f'exit {n}.'
    return [element('b', 'Chosen exit: ', found), ' Rule: ', report.chosen.rule]


def information_section(report: Report) -> Content:
    """Return MI and SI losses and the gradients' ratio."""
    curves = {k: v for k, v in report.record.curves.items() if k.rpartition('.')[2] != 'loss'}
    if not any(curves_of(curves, peer, kind) for peer in peers_of(curves) for kind in _KINDS):
        return element(
            'p', f'MI, SI and the gradient ratio: {NOT_MEASURED}. The run logged none of them.'
        )
    columns = _information_columns(curves)
    name = report.record.work_dir.resolve().name
    alt = 'Curves by training step; the last values: ' + ', '.join(
        f'{title} {number(points[max(points)], 3)}' for title, points in columns.items()
    )
    chart = embedded_figure(
        lambda: information_figure({name: curves}, chosen=report.chosen_number), f'{alt}.'
    )
    steps = sorted({step for points in columns.values() for step in points})
    every = math.ceil(len(steps) / _MOST_ROWS)
    shown = steps[::-1][::every][::-1]
    rows = [
        [str(step), *(number(p[step], 3) if step in p else '-' for p in columns.values())]
        for step in shown
    ]
    values = [table(['step', *columns], rows)]
    if every > 1:
        values += [element('p', f'One of {every} logged steps is listed.', class_='faint')]
    note = (
        'MI n: loss of the critic between module n and the last feature. SI n: within module n. '
        'Exit n follows module n. The gradient ratio is the length of the gradient of MUSE over that '
        "of the network's own loss."
    )
    return [
        element('div', chart, element('div', values), class_='pair even'),
        element('p', note, class_='faint'),
    ]


def _information_columns(curves: Curves) -> dict[str, dict[int, float]]:
    columns = {}
    for peer in peers_of(curves):
        for kind, title in _KINDS.items():
            for module, points in curves_of(curves, peer, kind).items():
                prefix = '' if peer is None else f'{peer}: '
                columns[prefix + title.format(module)] = points
    return columns


def early_exit_section(report: Report) -> Content:
    """Return accuracy and cost of early exit."""
    if not report.early_exit:
        return element('p', f'Early exit: {NOT_MEASURED}. mmmuse early-exit measures it.')
    rows = report.early_exit
    early = [row for row in rows if row['network'] == 'early exit']
    key, label = accuracy_key(rows), accuracy_label(rows)
    listed = ', '.join(f'{row[key]:.2f} % at {row["macs"] / 1e6:.2f} M' for row in early)
    panels = early_exit_panels(rows)
    chart = embedded_figure(
        lambda: exit_figure(
            dict(list(panels.items())[:1]),
            'Early exit, and each exit as a network of its own',
            chosen=report.chosen_number,
            metric=label,
        ),
        f'Early exit, {label.removesuffix(" (%)")} against average multiply-adds: {listed}.',
    )
    cells = [
        [
            row['network'],
            number(row[key], 2),
            number(row['macs'] / 1e6, 2),
            number(row['milliseconds'], 3),
            row.get('shares') or '-',
        ]
        for row in rows
    ]
    titles = [
        'network',
        label.replace(' accuracy', ''),
        'average multiply-adds (M)',
        'latency (ms per image)',
    ]
    values = table([*titles, 'share of images per exit'], cells)
    return element('div', chart, values, class_='pair even')


def picture_section(report: Report) -> Content:
    """Return pictures of detections."""
    if not report.pictures:
        return element(
            'p', f'Detections: {NOT_MEASURED}. --pictures N draws them, or mmmuse detections.'
        )
    return [
        embedded_png(content, f'Boxes of ground truth, detector and exits: {title}')
        for title, content in report.pictures.items()
    ]
