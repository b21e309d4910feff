"""Read a report's page as a browser does: its tables, texts and what it would load."""

from html.parser import HTMLParser

_VOID = {'img', 'meta', 'source'}


class Page(HTMLParser):
    """What is in a page.

    Attributes:
        tables: Of each table its rows, each a list of its cells' texts.
        marked: Texts of the rows of class ``chosen``.
        titles: Texts of title and headings.
        images: Attributes of each picture.
        urls: Values of attributes that a browser loads.
        tags: Names of all elements.
        text: Of the body.
    """

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tables, self.marked, self.titles = [], [], []
        self.images, self.urls, self.tags, self.text = [], [], [], ''
        self._open: list[str] = []
        self._chosen = False
        self.feed(content)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append(tag)
        self.urls += [v for k, v in attrs if k in ('src', 'href', 'srcset', 'data', 'action')]
        if tag == 'img':
            self.images.append(attributes)
        if tag not in _VOID:
            self._open.append(tag)
        if tag == 'table':
            self.tables.append([])
        if tag == 'tr':
            self.tables[-1].append([])
            self._chosen = attributes.get('class') == 'chosen'
        if tag in ('td', 'th'):
            self.tables[-1][-1].append('')
        if tag in ('title', 'h1', 'h2', 'h3'):
            self.titles.append('')

    def handle_endtag(self, tag):
        assert self._open.pop() == tag
        if tag == 'tr' and self._chosen:
            self.marked.append(self.tables[-1][-1])

    def handle_data(self, data):
        if 'style' in self._open:
            return
        self.text += data
        if self._open and self._open[-1] in ('td', 'th'):
            self.tables[-1][-1][-1] += data
        if self._open and self._open[-1] in ('title', 'h1', 'h2', 'h3'):
            self.titles[-1] += data

    def table(self, first: str) -> list[list[str]]:
        """Return the table whose first column has this title."""
        (found,) = (rows for rows in self.tables if rows and rows[0][0] == first)
        return found

    def facts(self) -> dict[str, str]:
        """Return names and texts of all tables of two columns without a title."""
        return {row[0]: row[1] for rows in self.tables for row in rows if len(row) == 2}
