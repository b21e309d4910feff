"""The README is short, and what it links to exists."""

import re

import pytest

from .blocks import ROOT

README = ROOT / 'README.md'
LINKS = re.findall(r'\]\((?!https?:)([^)\s]+)\)', README.read_text())


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings."""
    headings = re.findall(r'^#+ (.*)$', text, flags=re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings}


@pytest.mark.parametrize('link', sorted(set(LINKS)))
def test_a_link_leads_to_a_file_and_a_heading(link):
    path, _, anchor = link.partition('#')
    assert (ROOT / path).is_file()
    assert not anchor or anchor in anchors((ROOT / path).read_text())


def test_it_has_at_most_120_lines():
    assert len(README.read_text().splitlines()) <= 120


def test_its_make_targets_exist():
    targets = re.findall(r'^([\w-]+):', (ROOT / 'Makefile').read_text(), flags=re.MULTILINE)
    named = re.findall(r'^make ([\w-]+)', README.read_text(), flags=re.MULTILINE)
    assert {'demo', 'test'} <= set(named)
    assert set(named) <= set(targets)
