"""Every block of the tutorials does what its page says, on small data."""

from pathlib import Path

import pytest

from .blocks import DOCS, ROOT, blocks_of, page_before
from .tutorial import Capture, run_page

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures('half_of_the_digits', 'onnx_operators_collected_once'),
]

PAGES = (
    *('quickstart', 'your_model', 'deploy', 'early_exit', 'teachers', 'unlabelled', 'detectors'),
    'compare',
    'segmenters',
    *('install', 'adding_a_loss', 'options', 'faq'),
)


class Tutorials:
    """Runs each page once, after the page that it continues, in the same folder."""

    def __init__(self, new_folder) -> None:
        self.new_folder = new_folder
        self.folders: dict[Path, Path | None] = {}

    def run(self, page: Path, capture: Capture) -> Path:
        if page in self.folders:
            folder = self.folders[page]
            assert folder is not None, f'{page.name} failed'
            return folder
        self.folders[page] = None
        before = page_before(page)
        folder = self.new_folder(page.stem) if before is None else self.run(before, capture)
        run_page(page, folder, capture)
        self.folders[page] = folder
        return folder


@pytest.fixture(scope='module')
def tutorials(tmp_path_factory) -> Tutorials:
    def new_folder(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        (folder / 'configs').symlink_to(ROOT / 'configs')
        return folder

    return Tutorials(new_folder)


@pytest.mark.parametrize('name', PAGES)
def test_the_commands_of_a_page_run_in_its_order(tutorials, capfd, name):
    tutorials.run(DOCS / f'{name}.md', capfd)


def test_every_page_with_commands_to_run_is_run():
    with_commands = {
        path.stem for path in DOCS.glob('*.md') if any(block.is_run for block in blocks_of(path))
    }
    assert with_commands == set(PAGES)
