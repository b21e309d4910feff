"""Blocks that are not run name commands, flags and files that exist."""

import argparse
import re
import shlex
from pathlib import Path

import pytest
from mmengine.config import Config

from mmmuse.checkpoints.runner_keys import runner_keys
from mmmuse.command_line.option_values import parsed_options
from mmmuse.commands import mmmuse_parser

from .blocks import DOCS, ROOT, Block, blocks_of, command_lines

README = ROOT / 'README.md'
FOLDERS = sorted(ROOT.glob('configs/*/README.md'))


def commands_of(page: Path) -> list[tuple[Block, str]]:
    """Return the commands of a page that no test runs."""
    return [
        (block, line)
        for block in blocks_of(page)
        if block.language in ('', 'bash') and not block.is_run
        for line in command_lines(block.text)
    ]


def assert_read(args: argparse.Namespace) -> None:
    """Check that ``--cfg-options`` name keys that a run reads."""
    options = parsed_options(getattr(args, 'cfg_options', None) or [])
    assert {key.partition('.')[0] for key in options} <= runner_keys(Config())


def test_an_option_that_no_run_reads_is_found():
    line = 'train a.py --cfg-options train_dataloder.dataset.indices=640'
    with pytest.raises(AssertionError):
        assert_read(mmmuse_parser().parse_args(line.split()))


@pytest.mark.parametrize(
    'page', [README, *FOLDERS, *sorted(DOCS.glob('*.md'))], ids=lambda p: str(p.relative_to(ROOT))
)
def test_a_block_that_is_not_run_can_be(page):
    for block, line in commands_of(page):
        words = shlex.split(line, comments=True)
        if not words:
            continue
        if words[0] == 'mmmuse':
            arguments = words[1 : words.index('>') if '>' in words else None]
            assert_read(mmmuse_parser().parse_args(arguments))
        elif words[0] == 'python' and words[1].endswith('.py'):
            assert (ROOT / words[1]).is_file(), f'{block}: {line}'
        for word in words:
            if word.startswith(('configs/', 'tools/')) and not re.search('[A-Z]{3}', word):
                assert (ROOT / word).is_file(), f'{block}: no file {word}'


@pytest.mark.parametrize('page', sorted(DOCS.glob('*.md')), ids=lambda page: page.name)
def test_every_block_of_a_page_has_a_language(page):
    tutorial = any(block.is_run for block in blocks_of(page))
    assert not tutorial or all(block.language for block in blocks_of(page))
