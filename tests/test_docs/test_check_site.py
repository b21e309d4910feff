"""The check of the built site finds what a browser would load from another host."""

import runpy

import pytest

from .blocks import DOCS

CHECK = runpy.run_path(str(DOCS / 'builder' / 'check_site.py'))


@pytest.fixture
def site(tmp_path):
    """A function that writes a site of one page and returns what is wrong in it."""

    def check(body: str, styles: str = '') -> list[str]:
        (tmp_path / 'index.html').write_text(f'<html><body>{body}</body></html>')
        (tmp_path / 'styles.css').write_text(styles)
        return [fault for _, fault in CHECK['faults'](tmp_path)]

    return check


@pytest.mark.parametrize(
    'body',
    [
        '<script src="https://cdn.example/a.js"></script>',
        '<script src="//cdn.example/a.js"></script>',
        '<link rel="stylesheet" href="https://fonts.example/css">',
        '<link rel="preconnect" href="https://fonts.example">',
        '<img src="HTTP://pictures.example/a.png">',
        '<img srcset="a.png 1x, https://pictures.example/b.png 2x">',
        '<iframe src="https://example.com"></iframe>',
        '<style>@import "https://fonts.example/css";</style>',
        '<p style="background: url(https://pictures.example/a.png)">text</p>',
        '<pre class="mermaid">flowchart</pre>',
    ],
)
def test_what_a_page_loads_from_the_network_is_found(site, body):
    assert len(site(body)) == 1


def test_a_font_of_a_style_sheet_is_found(site):
    assert site('', "src: url('https://fonts.example/a.woff2')") == [
        'loads url(https://fonts.example/a.woff2) from the network'
    ]


@pytest.mark.parametrize(
    'body',
    [
        '<a href="https://example.com">a link</a>',
        '<link rel="canonical" href="https://example.com">',
        '<script src="assets/a.js"></script><img src="data:image/png;base64,AA">',
        '<code>https://example.com</code>',
        '<pre><code>``x``</code></pre>',
    ],
)
def test_links_and_own_files_are_accepted(site, body):
    assert site(body) == []


@pytest.mark.parametrize('text', ['.. math:: x', ':class:`X`', '``x``', r'\mathbb{E}'])
def test_markup_of_docstrings_is_found(site, text):
    assert len(site(f'<p>{text}</p>')) == 1


def test_a_folder_without_a_site_is_an_error(tmp_path, capsys):
    assert CHECK['main'](tmp_path) == 1
    assert capsys.readouterr().err == f'error: no site in {tmp_path}\n'
