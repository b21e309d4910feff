"""The configs that mmmuse ships."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def configs_folder() -> Path:
    """Return the folder of the shipped configs: of the installed package, or of the clone."""
    installed = _PACKAGE / '.mim' / 'configs'
    return installed if installed.is_dir() else _PACKAGE.parent / 'configs'
