"""MkDocs hook: pages and configs of the repository outside docs/ are on the site too.

A link in a page is the path in the repository, so that it works where the repository is browsed. On
the site, ``docs/`` is the root, and ``configs/``, the changelog and the like lie beside its pages.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
PATTERNS = ('CHANGELOG.md', 'CONTRIBUTING.md', 'configs/*/README.md', 'configs/**/*.py')
DOCS = 'docs/'
_LINK = re.compile(r'(?<=\]\()(?!\w+:|[#/])([^)\s#]+)')


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the repository's own pages and the configs that pages refer to."""
    for pattern in PATTERNS:
        for path in sorted(ROOT.glob(pattern)):
            uri = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, uri, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make links between ``docs/`` and the rest of the repository links of the site."""
    here = page.file.src_uri
    in_docs = not page.file.generated_by

    def on_the_site(link: re.Match) -> str:
        folder = posixpath.dirname((DOCS if in_docs else '') + here)
        target = posixpath.normpath(posixpath.join(folder, link[1]))
        uri = target.removeprefix(DOCS)
        return posixpath.relpath(uri, posixpath.dirname(here) or '.')

    return _LINK.sub(on_the_site, markdown)
