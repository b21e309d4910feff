"""HTML that escapes every text, and figures that are part of the page."""

import base64
import io
import warnings
from collections.abc import Callable, Sequence
from html import escape

import matplotlib

matplotlib.use('Agg')
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

_VOID = {'img', 'meta', 'source'}
_FONT = {'font.size': 11, 'svg.hashsalt': 'mmmuse', 'svg.fonttype': 'path'}
_THEMES = {
    'light': {'text.color': '#1c2126', 'axes.facecolor': '#ffffff'},
    'dark': {'text.color': '#e4e7ea', 'axes.facecolor': '#171b1f'},
}
_SAME_AS_TEXT = ('axes.labelcolor', 'axes.edgecolor', 'xtick.color', 'ytick.color')

STYLE = """
:root { color-scheme: light dark; --ink: #1c2126; --paper: #ffffff; --soft: #f2f4f6;
  --line: #d5dade; --faint: #5b6570; --mark: #fff1c9; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7ea; --paper: #171b1f; --soft: #22282e;
  --line: #3a424a; --faint: #a3adb7; --mark: #4a3d12; --bad: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { margin: 0; font-size: 1.7rem; } h2 { margin: 2.2rem 0 .6rem; font-size: 1.25rem;
  border-bottom: 1px solid var(--line); } h3 { margin: 1rem 0 .3rem; font-size: 1rem; }
p { margin: .4rem 0; } .faint { color: var(--faint); } .bad { color: var(--bad); }
.facts { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1rem 0; padding: 0; }
.facts div { background: var(--soft); border-radius: .4rem; padding: .5rem .9rem; }
.facts b { display: block; font-size: 1.15rem; }
.pair { display: grid; grid-template-columns: minmax(0, 3fr) minmax(0, 2fr); gap: 1.2rem;
  align-items: start; }
.even { grid-template-columns: repeat(2, minmax(0, 1fr)); } .even .scroll { max-height: 44rem; }
.wide, .scroll { overflow: auto; } .scroll { max-height: 27rem; }
.groups { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 0 2rem; }
figure { margin: 0; overflow-x: auto; } img { display: block; max-width: 100%; height: auto; }
figure.picture { margin: 1rem 0; } figure.picture img { max-width: none; width: max(100%, 44rem); }
table { border-collapse: collapse; width: 100%; font-size: .87rem; overflow-wrap: normal; }
th, td { padding: .25rem .5rem; text-align: right; border-bottom: 1px solid var(--line);
  vertical-align: top; font-variant-numeric: tabular-nums; }
th { position: sticky; top: 0; background: var(--soft); font-weight: 600; }
th:first-child, td:first-child, .text td, .text th { text-align: left; }
.text td { overflow-wrap: anywhere; } .text td:first-child { width: 34%; color: var(--faint); }
tr.chosen td { background: var(--mark); font-weight: 600; }
pre { background: var(--soft); padding: .8rem; border-radius: .4rem; overflow: auto;
  max-height: 30rem; font-size: .8rem; white-space: pre-wrap; }
summary { cursor: pointer; color: var(--faint); margin: .5rem 0; }
@media (max-width: 62rem) { .pair, .even { grid-template-columns: minmax(0, 1fr); } }
@media (max-width: 48rem) { body { padding: 1rem; } .groups { grid-template-columns: minmax(0, 1fr); }
  th, td { padding: .2rem .4rem; } }
"""


class Html(str):
    """Text that is HTML; any other text is escaped where it is put into an element."""

    __slots__ = ()


Content = str | None | Sequence['Content']


def element(name: str, /, *content: Content, **attributes: str) -> Html:
    """Return an element with content and attributes, all texts escaped.

    Args:
        name: Of the element.
        *content: Texts, elements, or lists of them; None is left out.
        **attributes: ``class_`` stands for ``class``, ``http_equiv`` for ``http-equiv``.

    Example:
        >>> element('p', 'a < b', element('b', '!'), class_='faint')
        '<p class="faint">a &lt; b<b>!</b></p>'
    """
    given = ''.join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
    )
    if name in _VOID:
        return Html(f'<{name}{given}>')
    return Html(f'<{name}{given}>{_joined(content)}</{name}>')


def _joined(content: Content) -> str:
    if content is None:
        return ''
    if isinstance(content, Html):
        return str(content)
    if isinstance(content, str):
        return escape(content)
    return ''.join(map(_joined, content))


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], marked: int | None = None) -> Html:
    """Return a table of figures, which scrolls where it is long.

    Args:
        columns: Their titles, with units.
        rows: Cells.
        marked: Index of the row of the chosen exit.
    """
    head = element('tr', [element('th', column, scope='col') for column in columns])
    body = [
        element(
            'tr',
            [element('td', cell) for cell in row],
            **({'class_': 'chosen'} if i == marked else {}),
        )
        for i, row in enumerate(rows)
    ]
    inner = element('table', element('thead', head), element('tbody', body))
    return element('div', inner, class_='scroll')


def facts(rows: Sequence[tuple[str, str]]) -> Html:
    """Return a table of names and texts."""
    cells = [element('tr', element('td', name), element('td', text)) for name, text in rows]
    return element('div', element('table', element('tbody', cells), class_='text'), class_='wide')


def embedded_figure(draw: Callable[[], Figure], alt: str) -> Html:
    """Return a figure as a picture in the page, for light and for dark screens.

    Args:
        draw: Returns the figure; it is called for both.
        alt: What the figure shows, for those who cannot see it.
    """
    light, dark = (_svg(draw, theme) for theme in _THEMES.values())
    source = element('source', srcset=dark, media='(prefers-color-scheme: dark)')
    return element(
        'figure', element('picture', source, element('img', src=light, alt=alt)), class_='chart'
    )


def embedded_png(content: bytes, alt: str) -> Html:
    """Return a PNG as a picture in the page."""
    return element('figure', element('img', src=_data('png', content), alt=alt), class_='picture')


def _svg(draw: Callable[[], Figure], theme: dict[str, str]) -> str:
    colours = dict.fromkeys(_SAME_AS_TEXT, theme['text.color'])
    settings = {**_FONT, **theme, **colours, 'legend.facecolor': 'inherit'}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        warnings.simplefilter('ignore', UserWarning)  # Letters that the font lacks.
        figure = draw()
        buffer = io.BytesIO()
        figure.patch.set_alpha(0)
        figure.savefig(buffer, format='svg', metadata={'Date': None, 'Creator': None})
        plt.close(figure)
    return _data('svg+xml', buffer.getvalue())


def _data(kind: str, content: bytes) -> str:
    return f'data:image/{kind};base64,{base64.b64encode(content).decode()}'


def page(title: str, *content: Content) -> str:
    """Return a whole page, which loads nothing."""
    head = element(
        'head',
        element('meta', charset='utf-8'),
        element('meta', name='viewport', content='width=device-width, initial-scale=1'),
        element(
            'meta',
            http_equiv='Content-Security-Policy',
            content="default-src 'none'; img-src data:; style-src 'unsafe-inline'",
        ),
        element('title', title),
        element('style', Html(STYLE)),
    )
    body = element('body', element('main', *content))
    return f'<!doctype html>\n{element("html", head, body, lang="en")}\n'
