"""The README is short, and what it links to exists."""

import re

import pytest

from mmmuse.commands import COMMANDS

from .blocks import ROOT, blocks_of, command_lines

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


@pytest.mark.parametrize('page', ['README.md', 'CONTRIBUTING.md', 'docs/install.md'])
def test_make_targets_exist_in_blocks_and_in_sentences(page):
    targets = re.findall(r'^([\w-]+):', (ROOT / 'Makefile').read_text(), flags=re.MULTILINE)
    lines = re.findall(r'(?:^|`)make ([\w -]+)', (ROOT / page).read_text(), flags=re.MULTILINE)
    # A variable, as in KIND=forks, ends the targets.
    named = {target for line in lines for target in re.sub(r' [A-Z]+$', '', line).split()}
    assert named <= set(targets)
    if page == 'README.md':
        assert {'demo', 'test', 'docs'} <= named


def test_the_commands_that_its_sentences_name_exist():
    named = set(re.findall(r'`mmmuse ([\w-]+)', README.read_text()))
    assert {'train', 'exits', 'export', 'report'} <= named <= set(COMMANDS)


def test_ci_runs_the_line_that_the_contributors_page_shows():
    (line,) = re.findall(r'^make .*$', (ROOT / '.ci/run').read_text(), flags=re.MULTILINE)
    assert f'CI runs `{line}`' in (ROOT / 'CONTRIBUTING.md').read_text()


def test_the_shortened_training_stands_before_the_full_one():
    (block,) = (block for block in blocks_of(README) if 'mmmuse train' in block.text)
    first, second = (line for line in command_lines(block.text) if line.startswith('mmmuse train'))
    assert 'train_cfg.max_epochs=1' in first
    assert 'max_epochs' not in second
