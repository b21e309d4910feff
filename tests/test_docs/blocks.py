"""The fenced blocks of the pages.

- A ``bash`` block without a title is run; with the title ``refused`` it ends with an error; with any
  other title ("8 GPUs", "installation") it is only parsed.
- A ``python`` block whose title is a file name is that file. Without a title it is run.
- A ``text`` block is what the block before it prints, its numbers aside; a line ``...`` stands for any.
- ``<!-- shorter in the test: FLAGS -->`` before a block adds flags to its ``mmmuse`` commands.
- ``<!-- needs: PACKAGE -->`` before a block: it is run where the package is installed.
- ``continues: PAGE`` in the front matter of a page: it uses the files of that page.
"""

import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / 'docs'
REFUSED = 'refused'
_FENCE = re.compile(
    r'^(?:<!-- needs: (?P<needs>\w+) -->\n+)?'
    r'(?:<!-- shorter in the test: (?P<shorter>[^\n]+) -->\n+)?'
    r'^```(?P<language>\w*)(?P<options>[^\n]*)\n(?P<text>.*?)^```$',
    flags=re.MULTILINE | re.DOTALL,
)
_TITLE = re.compile(r'title="([^"]*)"')
_CONTINUES = re.compile(r'\A---\n(?:.*\n)*?continues: (\S+)\n')


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        page: The page's path in the repository.
        line: Number of its first line.
        language: E.g. ``'bash'``; empty if the fence has none.
        title: Its title, or None.
        text: Its lines.
        shorter: Flags that the test adds.
        needs: A package without which it is not run; empty for none.
    """

    page: str
    line: int
    language: str
    title: str | None
    text: str
    shorter: str
    needs: str

    @property
    def is_file(self) -> bool:
        return self.language == 'python' and self.title is not None

    @property
    def is_run(self) -> bool:
        """Whether it is commands that are run, to an error or not."""
        return self.language == 'bash' and self.title in (None, REFUSED)

    @property
    def lacks(self) -> bool:
        """Whether it needs a package that is not installed."""
        return bool(self.needs) and find_spec(self.needs) is None

    def __str__(self) -> str:
        return f'{self.page}:{self.line}'


def blocks_of(path: Path) -> list[Block]:
    """Return the fenced blocks of a page."""
    text = path.read_text(encoding='utf-8')
    return [
        Block(
            page=path.relative_to(ROOT).as_posix(),
            line=text.count('\n', 0, fence.start('text')),
            language=fence['language'],
            title=title[1] if (title := _TITLE.search(fence['options'])) else None,
            text=fence['text'],
            shorter=fence['shorter'] or '',
            needs=fence['needs'] or '',
        )
        for fence in _FENCE.finditer(text)
    ]


def page_before(path: Path) -> Path | None:
    """Return the page whose files a page uses."""
    before = _CONTINUES.match(path.read_text(encoding='utf-8'))
    return path.parent / before[1] if before else None


def command_lines(text: str) -> list[str]:
    """Return the commands of a bash block, with continued lines joined and comments left out."""
    joined = text.replace('\\\n', ' ')
    return [line.strip() for line in joined.splitlines() if line.strip() and line.strip()[0] != '#']
