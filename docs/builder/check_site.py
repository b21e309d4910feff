"""Check a built site: ``check_site.py FOLDER``.

It loads nothing from the network, and no markup of docstrings is left in its text.
"""

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

# Attributes whose address a browser loads by itself; that of <a> is followed on a click.
LOADED = {
    **dict.fromkeys(('script', 'img', 'iframe', 'source', 'video', 'audio', 'embed'), 'src'),
    'link': 'href',
    'object': 'data',
}
# A <link> with one of these is information, and is not loaded.
NOT_LOADED = {'canonical', 'next', 'prev', 'alternate', 'author', 'license'}
# Their text is shown as it is.
CODE = {'code', 'pre', 'script'}
# A class that makes the theme load a program from the network.
NETWORK_CLASSES = {'mermaid'}
# reStructuredText and LaTeX that should have become something else.
_MARKUP = re.compile(
    r'\.\. math::|:(?:math|class|func|meth|mod|data|attr):|``|arithmatex|\\(?:frac|sum|mathbb)\b'
)
_ADDRESS = re.compile(r'(?:https?:)?//', re.IGNORECASE)
_IN_CSS = re.compile(r'(?:url\(|@import)\s*["\']?((?:https?:)?//[^"\')\s;]+)', re.IGNORECASE)


class _Page(HTMLParser):
    """Collects what a page loads from another host, and its text outside of code."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.text: list[str] = []
        self._in_style = False
        self._in_code = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or '' for name, value in attrs}
        self._in_style = tag == 'style'
        self._in_code += tag in CODE
        kinds = set(attributes.get('rel', '').lower().split())
        address = attributes.get(LOADED.get(tag, ''), '').strip()
        if _ADDRESS.match(address) and not (tag == 'link' and kinds & NOT_LOADED):
            self.found.append(f'<{tag}> {address}')
        for candidate in attributes.get('srcset', '').split(','):
            if _ADDRESS.match(candidate.strip()):
                self.found.append(f'<{tag}> {candidate.strip()}')
        self.found += _in_css(attributes.get('style', ''))
        for name in NETWORK_CLASSES & set(attributes.get('class', '').split()):
            self.found.append(f'<{tag} class="{name}">')

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.found += _in_css(data)
        elif not self._in_code:
            self.text.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False
        self._in_code -= tag in CODE


def _in_css(text: str) -> list[str]:
    return [f'url({address})' for address in _IN_CSS.findall(text)]


def faults(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield each page or style sheet of a site with what is wrong in it."""
    for path in sorted(folder.rglob('*')):
        if path.suffix == '.html':
            page = _Page()
            page.feed(path.read_text(encoding='utf-8'))
            yield from ((path, f'loads {found} from the network') for found in page.found)
            if markup := _MARKUP.search(''.join(page.text)):
                yield path, f'shows the markup {markup[0]!r}'
        elif path.suffix in {'.css', '.svg'}:
            for found in _in_css(path.read_text(encoding='utf-8')):
                yield path, f'loads {found} from the network'


def main(folder: Path) -> int:
    if not (folder / 'index.html').is_file():
        print(f'error: no site in {folder}', file=sys.stderr)
        return 1
    found = list(faults(folder))
    for path, what in found:
        print(f'error: {path} {what}', file=sys.stderr)
    return int(bool(found))


if __name__ == '__main__':
    sys.exit(main(Path(sys.argv[1])))
