"""MkDocs hook: formulas become MathML, which browsers show without a script."""

import html
import re

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.pages import Page

# What pymdownx.arithmatex writes in its generic mode.
_FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[\[(](.*?)\\[\])]</\1>', flags=re.DOTALL)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Replace the LaTeX of a page by MathML."""

    def as_mathml(formula: re.Match) -> str:
        display = 'block' if formula[1] == 'div' else 'inline'
        return convert(html.unescape(formula[2]), display=display)

    return _FORMULA.sub(as_mathml, output)
