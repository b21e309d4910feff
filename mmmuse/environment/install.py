"""The command that installs an extra of this copy of mmmuse, which is on no package index."""

import json
import re
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlsplit

_CLONE = Path(__file__).resolve().parents[2]
_OF_EXTRA = re.compile(r'\s*;\s*extra\s*==\s*[\'"]([\w-]+)[\'"]\s*$')


def install_command(extra: str) -> str:
    """Return the command that installs an extra of this copy.

    Args:
        extra: ``stack``, ``segmentation``, ``export``, ``completion``, ``cluster``, ``timm`` or
            ``transformers``.

    Returns:
        For a clone ``pip install -e "PATH[stack]"``; for a wheel that is still where it was installed
        from ``pip install "mmmuse[stack] @ URL"``; otherwise the requirements themselves.
    """
    if (_CLONE / 'pyproject.toml').is_file():
        return f'pip install -e "{_CLONE}[{extra}]"'
    url = _origin()
    if url is not None:
        return f'pip install "mmmuse[{extra}] @ {url}"'
    return 'pip install ' + ' '.join(f'"{requirement}"' for requirement in requirements_of(extra))


def requirements_of(extra: str) -> list[str]:
    """Return the requirements of an extra, as the installed package has them."""
    found = []
    for requirement in metadata.requires('mmmuse') or ():
        match = _OF_EXTRA.search(requirement)
        if match and match[1] == extra:
            found.append(requirement[: match.start()])
    return found


def _origin() -> str | None:
    """Return where pip installed the package from, if it still is a file or is on the web."""
    try:
        distribution = metadata.distribution('mmmuse')
        text = distribution.read_text('direct_url.json')
    except metadata.PackageNotFoundError:
        return None
    url = json.loads(text or '{}').get('url')
    if url is None:
        return None
    parts = urlsplit(url)
    is_there = parts.scheme != 'file' or Path(unquote(parts.path)).exists()
    return url if is_there else None
