"""Folders of installed packages that have names and versions only, and processes that see no others."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_TORCH = (
    'class cuda:\n    device_count = staticmethod(lambda: 0)\nclass version:\n    cuda = None\n'
)
# What mmmuse itself depends on to show its progress.
_OWN = ('rich', 'pygments', 'markdown_it', 'mdurl')
_OF_MODULE = {
    'onedl-mmengine': 'mmengine',
    'onedl-mmcv': 'mmcv',
    'mmcv-lite': 'mmcv',
    'onedl-mmpretrain': 'mmpretrain',
    'onedl-mmdetection': 'mmdet',
}
FORKS = {
    'torch': '2.13.0',
    'torchvision': '0.28.0',
    'onedl-mmengine': '0.10.12',
    'onedl-mmcv': '2.3.6',
    'onedl-mmpretrain': '1.3.6',
}
ORIGINALS = {
    'torch': '2.4.1+cu121',
    'torchvision': '0.19.1',
    'mmengine': '0.10.7',
    'mmcv-lite': '2.1.0',
    'mmpretrain': '1.2.0',
    'mmdet': '3.3.0',
}
TORCH_OF_TORCHVISION = {'0.28.0': '2.13.0', '0.19.1': '2.4.1', '0.16.2': '2.1.2'}


def install(site: Path, distributions: dict[str, str], **texts: str | None) -> Path:
    """Install distributions: their metadata, and a package for each.

    Args:
        site: The folder.
        distributions: Version of each distribution.
        **texts: Text of a module; None for a distribution whose files are gone.
    """
    site.mkdir(exist_ok=True)
    for module in _OWN:
        (site / module).symlink_to(Path(importlib.util.find_spec(module).origin).parent)
    for name, version in distributions.items():
        info = site / f'{name.replace("-", "_")}-{version}.dist-info'
        info.mkdir(parents=True)
        requires = ''
        if name == 'torchvision':
            requires = f'Requires-Dist: torch=={TORCH_OF_TORCHVISION[version]}\n'
        (info / 'METADATA').write_text(
            f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}'
        )
        module = _OF_MODULE.get(name, name)
        text = texts.get(module, _TORCH if module == 'torch' else '')
        if text is not None:
            package = site / module
            package.mkdir(exist_ok=True)
            (package / '__init__.py').write_text(text)
            if module in ('mmpretrain', 'mmdet'):
                (package / 'models.py').write_text('')
    return site


def run(site: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run the command ``mmmuse`` where only the standard library and the folder can be imported."""
    code = 'import json\nfrom mmmuse.commands import main\nmain(arguments=json.loads(sys.argv[1]))'
    return python(site, folder, code, json.dumps(arguments))


def python(site: Path, folder: Path, code: str, *arguments: str) -> subprocess.CompletedProcess:
    """Run Python code there."""
    start = f'import sys\nsys.path[:0] = {[str(ROOT), str(site)]!r}\n{code}'
    return subprocess.run(
        [sys.executable, '-I', '-S', '-c', start, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
