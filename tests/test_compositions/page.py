"""The tables of docs/compositions.md."""

from mmmuse.tapping.proposal import TapProposal
from tests.conftest import ROOT

from .composition import Family

PAGE = ROOT / 'docs' / 'compositions.md'


def rows(heading: str) -> dict[str, str]:
    """Return the rows of the table under a heading, by their first cell."""
    section = PAGE.read_text().split(f'## {heading}\n', 1)[1].split('\n## ', 1)[0]
    lines = [line for line in section.splitlines() if line.startswith('| ')][1:]
    names = [line.split('|')[1].strip() for line in lines]
    assert len(set(names)) == len(names)
    return dict(zip(names, lines, strict=True))


def row(name: str, family: Family, proposal: TapProposal) -> str:
    """Return the row of a family."""
    config = family.config if isinstance(family.config, str) else 'no config'
    taps = ', '.join(f'`{path}`' for path in proposal.modules)
    exits = str(len(proposal.modules)) if proposal.logits else f'none: {proposal.no_logits}'
    return f'| {name} | {config} | {taps} | `{proposal.last}` | {exits} | {family.note} |'


def not_composed_row(names: tuple[str, ...], why: tuple[str, str]) -> str:
    """Return the row of what is not composed: its names, its config folders, the reason."""
    folders, reason = why
    return f'| {", ".join(names)} | {folders} | {reason} |'
