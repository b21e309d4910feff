import pytest
from mmengine.config import Config
from yapf.yapflib.yapf_api import FormatCode  # Imported before the suite replaces it.

from mmmuse.command_line.config_layout import laid_out_once


@pytest.fixture
def laid_out(monkeypatch) -> list[str]:
    """The texts that yapf has laid out."""
    texts = []

    def format_code(text, **options):
        texts.append(text)
        return f'# {len(texts)}\n{text}', True

    monkeypatch.setattr('yapf.yapflib.yapf_api.FormatCode', format_code)
    monkeypatch.setattr('mmengine.config.config.FormatCode', format_code, raising=False)
    return texts


def test_the_same_config_is_laid_out_once(laid_out):
    with laid_out_once():
        first = Config(dict(a=1)).pretty_text
        assert first.startswith('# 1\n')
        assert Config(dict(a=1)).pretty_text == first
        assert Config(dict(a=2)).pretty_text.startswith('# 2\n')
    assert len(laid_out) == 2


def test_afterwards_each_is_laid_out_again(laid_out):
    def failing_run():
        with laid_out_once():
            return 1 / len(Config(dict(a=1)).pretty_text[:0])

    with pytest.raises(ZeroDivisionError):
        failing_run()
    for _ in range(2):
        Config(dict(a=1)).pretty_text  # noqa: B018
    assert len(laid_out) == 3


def test_the_text_is_that_of_mmengine(monkeypatch):
    monkeypatch.setattr('yapf.yapflib.yapf_api.FormatCode', FormatCode)
    config = Config(dict(model=dict(type='A', widths=list(range(40)))))
    with laid_out_once():
        texts = [config.pretty_text, config.pretty_text]
    assert texts == [config.pretty_text] * 2
