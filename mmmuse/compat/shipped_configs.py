"""The configs that mmmuse ships."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def configs_folder() -> Path:
    """Return the folder of the shipped configs: of the package, or of a clone without its links."""
    packaged = _PACKAGE / '.mim' / 'configs'  # A link in a clone, files in a wheel.
    return packaged if packaged.is_dir() else _PACKAGE.parent / 'configs'
