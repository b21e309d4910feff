"""A config and a checkpoint that mmpretrain, mmdet or mmseg reads without mmmuse."""

import ast
import hashlib
import importlib.util
import re
from copy import deepcopy
from pathlib import Path

from mmengine.config import Config

import mmmuse.registry
from mmmuse.checkpoints.plain_data import per_sample
from mmmuse.checkpoints.save import save_synced
from mmmuse.checkpoints.student_config import plain_evaluators
from mmmuse.version import __version__

from .data import innermost

CONFIG = 'config.py'
CHECKPOINT = 'checkpoint.pth'

# Hooks that a plain network has a use for, too; the others are of distillers, or added by mmmuse's tools.
_PLAIN_HOOKS = {'mmmuse.ChannelsLastHook'}
_REGISTRIES = {name: getattr(mmmuse.registry, name) for name in mmmuse.registry.__all__}


def write_standalone(
    folder: Path,
    config: Config,
    model: dict,
    weights: dict,
    keys: set[str],
    title: str,
    dataset_meta: dict | None = None,
) -> None:
    """Write ``config.py``, ``checkpoint.pth`` and the modules of mmmuse that they need.

    Modules of mmmuse that the config names (a truncated backbone, a data set) and those that
    they import are copied into a package in the same folder. Its name has a hash of its content,
    so that several exports can be loaded in one process.

    Args:
        folder: Where to write; it exists.
        config: The config of the distilled network: data, schedule, runtime.
        model: Config of the plain network.
        weights: Its state dict.
        keys: The top-level keys of a config that a runner reads.
        title: First line of the config.
        dataset_meta: Class names, for the library's inferencer.
    """
    plain = {key: deepcopy(config[key]) for key in config if key in keys}
    plain.update(model=deepcopy(model), load_from=None, work_dir=None, resume=False)
    if config.get('default_scope') == 'mmseg':
        plain['test_pipeline'] = _test_pipeline(config)
    plain = Config(per_sample(_without_distilling(plain)))
    plain.pop('load_from')
    plain.pop('work_dir')
    text = plain.pretty_text
    files = _copies(set(re.findall(r"'(mmmuse\.\w+)'", text)))
    package = None
    if files:
        digest = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()[:8]
        package = f'exit_parts_{digest}'
        for name, code in files.items():
            path = folder / package / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(
                code.replace('mmmuse.', f'{package}.').replace("'mmmuse'", f"'{package}'"),
                encoding='utf-8',
            )
        text = text.replace("'mmmuse.", f"'{package}.")
    (folder / CONFIG).write_text(_header(package, title) + text, encoding='utf-8')
    meta = dict(mmmuse_version=__version__)
    if dataset_meta is not None:
        meta['dataset_meta'] = dataset_meta
    save_synced(dict(meta=meta, state_dict=weights), folder / CHECKPOINT)


def _test_pipeline(config: Config) -> list:
    """Return the pipeline of the test data, which ``mmseg.apis.inference_model`` reads by this key."""
    dataset = (config.get('test_dataloader') or {}).get('dataset') or {}
    return deepcopy(innermost(dataset)[0].get('pipeline', []))


def _without_distilling(config: dict) -> dict:
    """Remove the hooks and metrics that only a distiller needs."""
    if config.get('default_hooks'):
        hooks = config['default_hooks'].items()
        config['default_hooks'] = {name: hook for name, hook in hooks if _is_plain(hook)}
    if config.get('custom_hooks'):
        config['custom_hooks'] = list(filter(_is_plain, config['custom_hooks']))
    plain_evaluators(config)
    return config


def _is_plain(hook: dict | None) -> bool:
    kind = str((hook or {}).get('type'))
    return not kind.startswith('mmmuse.') or kind in _PLAIN_HOOKS


def _copies(types: set[str]) -> dict[str, str]:
    """Return the files, by path, of a package with all modules that these types need."""
    if not types:
        return {}
    named = {_module_of(name) for name in types}
    modules = set()
    waiting = list(named)
    while waiting:
        module = waiting.pop()
        if module not in modules and module != 'mmmuse.registry':
            modules.add(module)
            waiting += _imports(module)
    notice = f'# Copied from mmmuse {__version__} (Apache-2.0).\n'
    files = {'registry.py': notice + _registry_text(sorted(named)), '__init__.py': ''}
    for module in modules:
        origin = Path(importlib.util.find_spec(module).origin)
        parts = module.split('.')[1:]
        if origin.name == '__init__.py':
            parts.append('__init__')
        files['/'.join(parts) + '.py'] = notice + origin.read_text(encoding='utf-8')
        for depth in range(1, len(parts)):
            files.setdefault('/'.join([*parts[:depth], '__init__.py']), '')
    return files


def _module_of(name: str) -> str:
    for registry in _REGISTRIES.values():
        if (found := registry.get(name)) is not None:
            return found.__module__
    raise KeyError(f'{name} is not in any registry')


def _imports(module: str) -> list[str]:
    """Return the modules of mmmuse that a module imports."""
    spec = importlib.util.find_spec(module)
    package = module if spec.submodule_search_locations else module.rpartition('.')[0]
    found = []
    for node in ast.walk(ast.parse(Path(spec.origin).read_text(encoding='utf-8'))):
        if isinstance(node, ast.ImportFrom):
            name = node.module or ''
            if node.level:
                base = package.split('.')
                name = '.'.join([*base[: len(base) - node.level + 1], *filter(None, [name])])
            if name.startswith('mmmuse.'):
                found.append(name)
    return found


def _registry_text(modules: list[str]) -> str:
    lines = ['from mmengine import registry', '', f'LOCATIONS = {modules!r}']
    lines += [
        f"{name} = registry.Registry({own.name!r}, scope='mmmuse', parent=registry.{name}, "
        'locations=LOCATIONS)'
        for name, own in _REGISTRIES.items()
    ]
    return '\n'.join(lines) + '\n'


def _header(package: str | None, title: str) -> str:
    text = f'# {title}\n'
    if package:
        text += f'import sys\n\nsys.path.insert(0, r"{{{{ fileDirname }}}}")  # For {package}.\n'
    return f'{text}\nload_from = r"{{{{ fileDirname }}}}/{CHECKPOINT}"\n'
