"""Griffe extension: the reStructuredText of docstrings as Markdown."""

import re
import textwrap
from typing import Any

import griffe

_BLOCK = re.compile(r'^( *)\.\. math::[ ]*(.*)\n((?:\1 +.*\n|[ ]*\n)*)', flags=re.MULTILINE)
_CODE = re.compile(r'^( *)(.*[^:\s])::\n\n((?:\1 +.*\n|[ ]*\n)+)', flags=re.MULTILINE)
_EXAMPLE = re.compile(r'^( *)Example:$', flags=re.MULTILINE)
_FORMULA = re.compile(r':math:`([^`]*)`')
_REFERENCE = re.compile(r':(?:class|func|meth|mod|data|attr):`~?([^`]*)`')
_LITERAL = re.compile(r'(?<!`)``([^`]+)``(?!`)')


def as_markdown(text: str) -> str:
    """Return a docstring with formulas, references and literals in Markdown."""

    def block(match: re.Match) -> str:
        indent, first, more = match.groups()
        formula = ' '.join(f'{first} {textwrap.dedent(more)}'.split())
        return f'{indent}\\[ {formula} \\]\n\n'

    def code(match: re.Match) -> str:
        indent, before, lines = match.groups()
        fenced = f'```\n{textwrap.dedent(lines).strip()}\n```'
        return f'{indent}{before}:\n\n{textwrap.indent(fenced, indent)}\n\n'

    text = _EXAMPLE.sub(r'\1Examples:', text)  # The section that griffe knows.
    text = _BLOCK.sub(block, text + '\n')
    text = _CODE.sub(code, text).removesuffix('\n')
    text = _FORMULA.sub(lambda match: f'\\({" ".join(match[1].split())}\\)', text)
    text = _REFERENCE.sub(
        lambda match: f'`{"".join(match[1].split()).removeprefix("mmmuse.")}`', text
    )
    return _LITERAL.sub(r'`\1`', text)


class Markdown(griffe.Extension):
    """Converts each docstring when its object has been read."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)
