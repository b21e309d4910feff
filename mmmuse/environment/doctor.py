"""Findings about an environment: what is installed, whether it works, and what to do."""

import platform
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmmuse.version import __version__

from .imports import import_all
from .install import install_command
from .libraries import OPENMMLAB, TORCH, TORCHVISION, Installed, installed, version_of
from .requirements import missing_libraries, upgrade
from .torch_pair import fitting_torchvision, misfit

_PACKAGE = Path(__file__).resolve().parents[1]
OK, NOTE, ERROR = 'ok', 'note', 'error'
# Libraries that some commands need: the module, its distribution, what for, and who installs it.
_TOOLS = (
    ('onnx', 'onnx', 'export --onnx, --nms and --int8', 'export'),
    ('onnxruntime', 'onnxruntime', 'export --onnx, --nms and --int8', 'export'),
    ('onnxscript', 'onnxscript', 'export --onnx, --nms and --int8', 'export'),
    ('pycocotools', 'pycocotools', 'data of COCO', None),
    ('sklearn', 'scikit-learn', 'the demo, and anchors', None),
    ('shtab', 'shtab', 'completion', 'completion'),
    ('timm', 'timm', 'teachers timm::NAME', 'timm'),
    ('transformers', 'transformers', 'teachers transformers::NAME', 'transformers'),
)


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        name: Of the library or the device.
        version: Its version, or what is found instead.
        state: ``'ok'``, ``'note'``, or ``'error'`` where no command can run.
        detail: What it is, or what is wrong.
        remedy: What to do, or empty.
    """

    name: str
    version: str
    state: str = OK
    detail: str = ''
    remedy: str = ''


def examine() -> list[Finding]:
    """Look at the environment; the libraries are imported in a process of their own."""
    libraries = [installed(library) for library in OPENMMLAB]
    modules = [state.library.module for state in libraries if state.found]
    parts = [f'{name}.models' for name in ('mmpretrain', 'mmdet') if name in modules]
    ops = ['mmcv._ext'] if 'mmcv' in modules else []
    names = [name for name in ('torch', 'torchvision') if find_spec(name)]
    imported = import_all([*names, *modules, *ops, *parts])
    findings = [Finding('mmmuse', __version__, detail=str(_PACKAGE))]
    findings.append(Finding('python', platform.python_version()))
    findings += _torch(imported)
    for state in libraries:
        findings += _openmmlab(state, libraries, imported)
    return [*findings, *_tools()]


def _torch(imported: dict[str, dict[str, Any]]) -> Iterator[Finding]:
    torch, torchvision = installed(TORCH), installed(TORCHVISION)
    if not torch.found:
        yield Finding('torch', '-', ERROR, 'not installed', install_command('stack'))
        return
    facts = imported['torch']
    yield _library(torch, facts, f'CUDA {facts["cuda"]}' if facts.get('cuda') else 'without CUDA')
    if not torchvision.found:
        yield Finding('torchvision', '-', ERROR, 'not installed', fitting_torchvision())
    else:
        fault, raised = misfit(), imported['torchvision'].get('error')
        if raised:
            detail = f'{fault} ({raised})' if fault else raised
            yield Finding(
                'torchvision', _version(torchvision), ERROR, detail, fitting_torchvision()
            )
        elif fault:
            yield Finding('torchvision', _version(torchvision), NOTE, fault, fitting_torchvision())
        else:
            yield _library(torchvision, imported['torchvision'], 'fits torch')
    if facts.get('gpus'):
        yield Finding('GPU', str(len(facts['gpus'])), detail=', '.join(facts['gpus']))
    elif 'error' not in facts:
        yield Finding('GPU', '-', NOTE, 'none that torch can use; training runs on the CPU')


def _version(state: Installed) -> str:
    return state.version or 'unknown'


def _library(state: Installed, facts: dict[str, Any], detail: str) -> Finding:
    """Return the finding of a library that is there."""
    name, version = state.library.module, _version(state)
    if state.too_old:
        return Finding(name, version, ERROR, state.too_old, upgrade(state))
    if 'error' in facts:
        remedy = f'the import fails; MMMUSE_TRACEBACK=1 python -c "import {name}" says where'
        return Finding(name, version, ERROR, facts['error'], remedy)
    return Finding(name, version, detail=detail)


def _openmmlab(
    state: Installed, libraries: list[Installed], imported: dict[str, dict[str, Any]]
) -> Iterator[Finding]:
    name = state.library.module
    if not state.found:
        missing = [other for other in libraries if other.library.needed and not other.found]
        if not state.library.needed:
            remedy = missing_libraries([state], libraries).partition(': ')[2]
            yield Finding(name, '-', NOTE, 'not installed: no detectors', remedy)
        elif len(missing) == sum(other.library.needed for other in libraries):
            yield Finding(name, '-', ERROR, 'not installed', install_command('stack'))
        else:
            line = missing_libraries([state], libraries)
            yield Finding(name, '-', ERROR, *line.split(': ', 1))
        return
    facts = {**imported[name], **_failed(imported.get(f'{name}.models', {}))}
    detail = ' and '.join(state.distributions) or 'not installed by pip'
    if state.kind:
        detail += f', {state.kind}'
    finding = _library(state, facts, detail)
    if finding.state == ERROR and not state.library.needed:
        finding = Finding(name, finding.version, NOTE, f'no detectors: {finding.detail}')
    yield finding
    if len(state.distributions) > 1:
        both = ' and '.join(f'{key} {version}' for key, version in state.distributions.items())
        yield Finding(
            name,
            'twice',
            NOTE,
            f'{both} have overwritten files of each other',
            f'pip uninstall -y {" ".join(state.distributions)}, then install one of them again',
        )
    if name == 'mmcv':
        yield _ops(imported['mmcv._ext'])


def _failed(facts: dict[str, Any]) -> dict[str, Any]:
    return {'error': facts['error']} if 'error' in facts else {}


def _ops(facts: dict[str, Any]) -> Finding:
    if 'error' in facts:
        detail = f'none: mmdet needs mmcv with its ops ({facts["error"]})'
        return Finding('mmcv ops', '-', NOTE, detail)
    if Path(facts['file'] or '').parent.parent == _PACKAGE:
        detail = 'mmcv has none that are compiled; those of plain detectors run in torch'
        return Finding('mmcv ops', 'in torch', detail=detail)
    return Finding('mmcv ops', 'compiled')


def _tools() -> Iterator[Finding]:
    for module, distribution, purpose, extra in _TOOLS:
        if find_spec(module) is None:
            remedy = install_command(extra) if extra else f'pip install {distribution}'
            yield Finding(distribution, '-', NOTE, f'not installed; for {purpose}', remedy)
        else:
            yield Finding(distribution, version_of(distribution) or 'unknown')
