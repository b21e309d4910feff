"""Find the config of an installed package that ``mmpretrain::folder/file.py`` names."""

import difflib
from importlib.util import find_spec
from pathlib import Path

from mmmuse.compat.shipped_configs import configs_folder
from mmmuse.errors import InputError

from .network_names import LIBRARIES

# Those of MMEngine's table, which cannot be imported without PyTorch.
PACKAGES = (
    *('mmmuse', 'mmpretrain', 'mmdet', 'mmseg', 'mmaction', 'mmagic', 'mmcls', 'mmdet3d', 'mmedit'),
    *('mmfewshot', 'mmflow', 'mmgen', 'mmhuman3d', 'mmocr', 'mmpose', 'mmrazor', 'mmrotate'),
    *('mmselfsup', 'mmtrack', 'mmyolo'),
)


def packaged_file(name: str) -> Path:
    """Return the file of a config of an installed package.

    MMEngine's ``get_config`` would install a package that is missing.

    Args:
        name: ``'mmpretrain::folder/file.py'``; the package is also ``mmdet``, ``mmmuse`` or another one
            that MMEngine knows.

    Raises:
        InputError: If the package is unknown or not installed, or has no such config.
    """
    package, _, config = name.partition('::')
    if package not in PACKAGES:
        nearest = difflib.get_close_matches(package, (*LIBRARIES, *PACKAGES), n=1)
        hint = f'did you mean {nearest[0]}::{config}?' if nearest else 'mmpretrain:: is one'
        raise InputError(f'{name}: no package {package!r} with configs is known; {hint}')
    folder = _folder(package)
    if folder is None:
        raise InputError(f'{name}: the package {package} is not installed')
    if not (folder / config).is_file():
        raise InputError(f'no config {name} in an installed package{_nearest(folder, config)}')
    return folder / config


def _folder(package: str) -> Path | None:
    """Return the folder of a package's configs, also of an editable install."""
    if package == 'mmmuse':
        return configs_folder()
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / '.mim' / 'configs'


def _nearest(folder: Path, config: str) -> str:
    files = [path.relative_to(folder).as_posix() for path in folder.glob('*/*.py')]
    nearest = difflib.get_close_matches(config, files, n=1)
    return f'; did you mean {nearest[0]!r}?' if nearest else ''
