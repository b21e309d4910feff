"""No file runs code, hangs or ends in a traceback: every reader of the package with every kind of file.

docs/files.md has a row for each reader. ``python -m pytest tests/test_every_reader.py`` prints the number
of combinations that are refused.
"""

import ast
import pickle
import re
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import mmengine
import numpy as np
import pytest
import torch
import yaml
from mmdet.datasets import CocoDataset
from mmdet.evaluation import CocoMetric
from mmengine.config import Config
from mmengine.fileio import LocalBackend, register_backend
from mmengine.fileio import io as mmengine_files
from mmengine.fileio.handlers import file_handlers
from mmengine.model import BaseModule
from mmengine.registry import TRANSFORMS, DefaultScope
from mmengine.runner import checkpoint as mmengine_checkpoint
from mmengine.runner import load_checkpoint
from mmengine.runner.checkpoint import CheckpointLoader

from mmmuse.analysis.detection_pictures import read_pictures
from mmmuse.analysis.dumped_config import read_dumped_config
from mmmuse.analysis.early_exit_table import read_early_exit
from mmmuse.analysis.information import read_information
from mmmuse.analysis.run_log import read_run_log
from mmmuse.analysis.training_boxes import read_boxes
from mmmuse.checkpoints import load_distiller
from mmmuse.checkpoints.config_file import read_config
from mmmuse.checkpoints.files import read_checkpoint
from mmmuse.checkpoints.mmengine_loading import refuse_code_in_files, safe_loading
from mmmuse.checkpoints.network_config import network_config
from mmmuse.command_line.checkpoint import check_before_loading
from mmmuse.command_line.config import load_config
from mmmuse.command_line.explain import explanation
from mmmuse.command_line.wrapping import load_plain_config
from mmmuse.datasets import BatchedCIFAR100, LoadCheckedImage, PerSampleCIFAR100, TinyImageNet
from mmmuse.datasets.load_checked_image import check_loaded_images
from mmmuse.detection import CheckedCocoDataset, ZeroCocoMetric
from mmmuse.distillers.cache_folder import CacheFolder, CacheWriter
from mmmuse.distillers.cache_index import CacheIndex
from mmmuse.distillers.teacher import build_teacher_network
from mmmuse.distillers.teacher_cache import TeacherCache
from mmmuse.export.classifier_target import ClassifierTarget, exit_target, peer_target
from mmmuse.export.detector_target import DetectorTarget
from mmmuse.export.trained import load_trained_detector
from mmmuse.jobs.run_lock import holder
from mmmuse.jobs.slurm import _read_runs
from mmmuse.jobs.training import read_outcome
from mmmuse.registry import MODELS
from mmmuse.tables.plan import Row, Run, read_table
from mmmuse.tables.record import logged_epochs, read_record

from .conftest import needs_mmengine, small_classifier_config
from .crafted_files import CONTENTS, KINDS, write_crafted
from .test_hooks.test_student_checkpoint import build_runner, distiller_config, student_config

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 60  # After which a reader hangs.
MEMORY = 2 * 2**30  # Bytes that it may take.


@pytest.fixture(autouse=True)
def _as_in_a_tool(monkeypatch) -> Iterator[None]:
    handlers, name = dict(file_handlers), 'LoadImageFromFile'
    registries = [TRANSFORMS, *TRANSFORMS.children.values()]
    loaders = [(each, each.module_dict[name]) for each in registries if name in each.module_dict]
    monkeypatch.setenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '0')  # Is restored after the test.
    with safe_loading():
        refuse_code_in_files()
        check_loaded_images()
        yield
    file_handlers.update(handlers)
    register_backend('local', LocalBackend, force=True, prefixes='')
    mmengine_files.backend_instances.clear()
    for registry, transform in loaders:
        registry.register_module(name=name, module=transform, force=True)


@pytest.fixture(autouse=True)
def _in_bounds() -> Iterator[None]:
    """Give a test a minute and two GiB, so that a reader without an end fails."""

    def stop(*_: object) -> None:
        raise TimeoutError(f'still reading after {SECONDS} s')

    before = signal.signal(signal.SIGALRM, stop)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, limits[1]))
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    resource.setrlimit(resource.RLIMIT_AS, limits)
    signal.signal(signal.SIGALRM, before)


def _classifier() -> Config:
    return Config(dict(model=small_classifier_config(), default_scope='mmpretrain'))


def _distilled() -> Config:
    model = distiller_config()
    return Config(dict(model=model, default_scope='mmpretrain'))


def _peers() -> Config:
    peers = [dict(model=small_classifier_config()), dict(model=small_classifier_config())]
    return Config(
        dict(
            model=dict(type='mmmuse.OnlineDistiller', peers=dict(a=peers[0], b=peers[1])),
            default_scope='mmpretrain',
        )
    )


def _detector() -> Config:
    """A detector of few layers, since it is built before each file is read."""
    model = dict(
        type='SingleStageDetector',
        data_preprocessor=dict(type='DetDataPreprocessor'),
        backbone=dict(
            type='ResNet',
            depth=18,
            stem_channels=4,
            base_channels=4,
            num_stages=1,
            strides=(1,),
            dilations=(1,),
            out_indices=(0,),
        ),
        bbox_head=dict(
            type='RetinaHead', num_classes=1, in_channels=4, feat_channels=4, stacked_convs=1
        ),
    )
    return Config(dict(default_scope='mmdet', model=model))


def _mmdet(config: Config, path: Path) -> None:
    with DefaultScope.overwrite_default_scope('mmdet'):
        DetectorTarget.read(None, config, str(path))


def _trained_detector(path: Path) -> None:
    with DefaultScope.overwrite_default_scope('mmdet'):
        load_trained_detector(_detector(), str(path))


def _pretrained(path: Path) -> None:
    part = torch.nn.Linear(2, 2)
    module = type('Part', (BaseModule,), {})(dict(type='Pretrained', checkpoint=str(path)))
    module.add_module('part', part)
    module.init_weights()


def _start(path: Path, model: dict, **options: object) -> None:
    runner = build_runner(path.parent / 'work', model=model, load_from=str(path), **options)
    runner.train()


def _resume(path: Path) -> None:
    check_before_loading(Config(dict(load_from=str(path), resume=True, work_dir='')), False)


def _resume_last(path: Path) -> None:
    work_dir = path.parent / 'run'
    work_dir.mkdir()
    checkpoint = work_dir / 'epoch_1.pth'
    checkpoint.symlink_to(path)
    (work_dir / 'last_checkpoint').write_text(str(checkpoint))
    config = Config(dict(load_from=None, resume=True, work_dir=str(work_dir)))
    chosen = check_before_loading(config, False)
    # What is not a file is not opened: the newest checkpoint beside it is taken, and there is none.
    assert not path.is_file()
    assert (chosen, config.resume) == (None, False)
    raise FileNotFoundError(path)


def _pointer(path: Path) -> None:
    config = Config(dict(load_from=None, resume=True, work_dir=str(path.parent)))
    check_before_loading(config, False)
    raise FileNotFoundError(path)  # No checkpoint, so that the run starts anew.


def _cache(path: Path) -> None:
    preprocessor = MODELS.build(dict(type='mmmuse.BatchedDataPreprocessor', fixed_views=1, seed=0))
    TeacherCache(str(path.parent), preprocessor)


def _file_of_cache(path: Path) -> None:
    views = dict(fixed_views=1)
    index = CacheIndex(2, views, {}, {'logits': (3,)}, {'logits': 'float32'})
    writer = CacheWriter(path.parent / 'cache', index, np.zeros(2, np.int64))
    writer.write(0, {'logits': np.zeros((2, 3), np.float32)})
    place = path.parent / 'cache' / 'shard-00000' / 'logits.npy'
    place.unlink()
    if path.is_symlink() or path.exists():
        path.rename(place)
    CacheFolder(path.parent / 'cache')


def _coco(path: Path) -> None:
    CheckedCocoDataset(
        ann_file=str(path), data_prefix=dict(img=''), metainfo=dict(classes=('cat',))
    )


def _plain_coco(path: Path) -> None:
    CocoDataset(ann_file=str(path), data_prefix=dict(img=''), metainfo=dict(classes=('cat',)))


def _cifar(kind: type) -> Callable[[Path], None]:
    def read(path: Path) -> None:
        folder = path.parent / 'cifar-100-python'
        folder.mkdir()
        if path.is_symlink() or path.exists():
            path.rename(folder / 'train')
        kind(data_root=str(path.parent), download=False)

    return read


def _tiny_imagenet(file: str) -> Callable[[Path], None]:
    def read(path: Path) -> None:
        root = path.parent
        contents = {
            'wnids.txt': 'n01\n',
            'words.txt': 'n01\tcat\n',
            'val_annotations.txt': 'a.JPEG\tn01\n',
        }
        (root / 'val' / 'images').mkdir(parents=True)
        (root / 'val' / 'images' / 'a.JPEG').touch()
        for name, content in contents.items():
            if name != file:
                place = root / 'val' if name.startswith('val') else root
                (place / name).write_text(content)
        if file.startswith('val') and (path.is_symlink() or path.exists()):
            path.rename(root / 'val' / file)
        TinyImageNet(str(root), 'val')

    return read


def _of_run(read: Callable) -> Callable[[Path], None]:
    def call(path: Path) -> None:
        folder = path.parent / 'run' / '1' / 'vis_data'
        folder.mkdir(parents=True)
        if path.is_symlink() or path.exists():
            path.rename(folder / 'scalars.json')
        read(path.parent / 'run')

    return call


def _record(path: Path) -> None:
    run = Run(Row('a', 'a.py'), 0, path.parent, 1, {})
    assert read_record(run) is None  # No record, so that the run is trained.
    raise FileNotFoundError(path)


def _nothing_logged(work_dir: Path) -> None:
    assert logged_epochs(work_dir, 'accuracy/top1') == {}
    raise FileNotFoundError(work_dir)


def _text_of_run(path: Path) -> None:
    log = read_run_log(path)
    assert (log.command, log.environment, log.errors) == (None, {}, ())
    raise FileNotFoundError(path)  # Nothing but lines of text to show.


def _nothing_noted(read: Callable[[Path], object]) -> Callable[[Path], None]:
    def call(path: Path) -> None:
        assert not read(path) or all(isinstance(each, str) for each in read(path))
        raise FileNotFoundError(path)

    return call


class Reader:
    """A reader, and the name that its file has."""

    def __init__(self, read: Callable[[Path], object], name: str = 'file.pth') -> None:
        self.read, self.name = read, name


READERS: dict[str, Reader] = {
    'read_checkpoint': Reader(lambda path: read_checkpoint(str(path))),
    "MMEngine's load_checkpoint": Reader(
        lambda path: load_checkpoint(torch.nn.Linear(2, 2), str(path), map_location='cpu')
    ),
    'init_cfg=Pretrained': Reader(_pretrained),
    'mmpretrain.get_model': Reader(
        lambda path: ClassifierTarget.read(None, _classifier(), str(path))
    ),
    'mmdet.init_detector': Reader(lambda path: _mmdet(_detector(), path)),
    'load_from of a plain network': Reader(lambda path: _start(path, student_config())),
    'load_from of a distiller': Reader(lambda path: _start(path, distiller_config())),
    'resume of a plain network': Reader(lambda path: _start(path, student_config(), resume=True)),
    'resume of a distiller': Reader(lambda path: _start(path, distiller_config(), resume=True)),
    'train.py --resume': Reader(_resume),
    'the file that last_checkpoint names': Reader(_resume_last),
    'last_checkpoint': Reader(_pointer, 'last_checkpoint'),
    'load_distiller': Reader(
        lambda path: load_distiller(MODELS.build(distiller_config()), str(path))
    ),
    'export.py --exit': Reader(lambda path: exit_target(_distilled(), str(path), 1)),
    'export.py --peer': Reader(lambda path: peer_target(_peers(), str(path), 'a')),
    'export.py of a detector': Reader(_trained_detector),
    'teacher_checkpoint': Reader(
        lambda path: build_teacher_network(small_classifier_config(), str(path))
    ),
    'teacher_cache': Reader(_cache, 'index.json'),
    'a file of a teacher_cache': Reader(_file_of_cache, 'logits.npy'),
    'a list of pickles': Reader(lambda path: mmengine.load(str(path)), 'list.pkl'),
    'a list in YAML': Reader(lambda path: _plain(mmengine.load(str(path))), 'list.yaml'),
    'a config in YAML': Reader(lambda path: read_config(path), 'config.yaml'),
    'a config in JSON': Reader(lambda path: read_config(path), 'config.json'),
    'a config': Reader(lambda path: load_config(str(path), {}), 'config.py'),
    'a config to wrap': Reader(lambda path: load_plain_config(str(path)), 'config.py'),
    'the config of a network': Reader(lambda path: network_config(str(path)), 'config.py'),
    'a checkpoint as a config': Reader(lambda path: load_config(str(path), {}), 'config.pth'),
    'a table': Reader(lambda path: read_table(str(path)), 'table.py'),
    'the record of a run': Reader(_record, 'record.json'),
    'the log of a run': Reader(_of_run(read_information), 'scalars.json'),
    'the log of a run, as text': Reader(_text_of_run, 'run.log'),
    'the dumped config of a run': Reader(read_dumped_config, 'config.py'),
    'the table of early exit': Reader(read_early_exit, 'early_exit.csv'),
    'pictures of detections': Reader(lambda path: read_pictures(path.parent), 'a.png'),
    'the outcome of a run': Reader(_nothing_noted(read_outcome), 'seed0.outcome.json'),
    'the runs of an array of jobs': Reader(_nothing_noted(_read_runs), 'runs.json'),
    'the lock of a run': Reader(_nothing_noted(holder), 'seed0.lock'),
    'the log of a run in a table': Reader(_of_run(_nothing_logged), 'scalars.json'),
    'CIFAR': Reader(_cifar(BatchedCIFAR100), 'train'),
    "CIFAR for mmpretrain's pipelines": Reader(_cifar(PerSampleCIFAR100), 'train'),
    **{
        f'TinyImageNet, {name}': Reader(_tiny_imagenet(name), name)
        for name in ('wnids.txt', 'val_annotations.txt')
    },
    'COCO annotations': Reader(_coco, 'instances.json'),
    "COCO annotations of mmdet's data set": Reader(_plain_coco, 'instances.json'),
    "COCO annotations of mmdet's metric": Reader(
        lambda path: CocoMetric(ann_file=str(path)), 'instances.json'
    ),
    'COCO annotations of our metric': Reader(
        lambda path: ZeroCocoMetric(ann_file=str(path)), 'instances.json'
    ),
    'boxes of COCO annotations': Reader(
        lambda path: read_boxes({str(path): None}, 640), 'instances.json'
    ),
    'LoadCheckedImage': Reader(
        lambda path: LoadCheckedImage().transform(dict(img_path=str(path))), 'image.png'
    ),
    "LoadImageFromFile of mmdet's configs": Reader(
        lambda path: TRANSFORMS.build(dict(type='LoadImageFromFile')).transform(
            dict(img_path=str(path))
        ),
        'image.png',
    ),
}


def _plain(content: object) -> None:
    """Check that a file was read as numbers and text, which are not a list of images."""
    assert type(content) in (type(None), str, list)
    raise ValueError(content)


# mmdet's own readers: none hangs or runs code, and a file that is not JSON has a traceback.
MMDETS = ("COCO annotations of mmdet's data set", "COCO annotations of mmdet's metric")

# What these readers accept, without effect: a config without keys is one.
ACCEPTED = {
    ('a config', 'nothing'),
    ('a config', 'JSON of another kind'),
    ('the dumped config of a run', 'nothing'),
}


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('name', READERS)
def test_a_file_is_refused_in_one_line_and_runs_nothing(name, kind, tmp_path):
    reader = READERS[name]
    path, marker = tmp_path / reader.name, tmp_path / 'marker'
    write_crafted(kind, path, marker)
    if (name, kind) in ACCEPTED:
        reader.read(path)
    else:
        with pytest.raises(Exception) as error:  # noqa: PT011 - the next lines say which.
            reader.read(path)
        line = explanation(error.value)
        if not name.startswith(('the record', 'the log', 'a list in YAML', *MMDETS)):
            assert line, repr(error.value)
            assert '\n' not in line
    assert not marker.exists()


def test_the_crafted_files_with_code_would_run_it(tmp_path, monkeypatch):
    """Python's own readers run them, so that the test above can fail."""
    monkeypatch.delenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD')
    for kind, crafted in CONTENTS.items():
        if not crafted.runs_code or kind in ('getattr in a checkpoint', 'a call in a tar file'):
            continue
        path, marker = tmp_path / 'file', tmp_path / 'marker'
        write_crafted(kind, path, marker)
        if kind == 'a call in YAML':
            yaml.unsafe_load(path.read_text())
        elif kind == 'a call in a pickle':
            pickle.loads(path.read_bytes())
        else:
            torch.load(path, weights_only=False)
        assert marker.exists(), kind
        marker.unlink() if marker.is_file() else marker.rmdir()


@needs_mmengine('0.10.12', 'a list of safe globals')
def test_mmengines_list_of_safe_globals_would_make_the_call_of_getattr(tmp_path):
    path = tmp_path / 'file.pth'
    write_crafted('getattr in a checkpoint', path, tmp_path / 'marker')
    get_torch_safe_globals = mmengine_checkpoint.get_torch_safe_globals
    with torch.serialization.safe_globals(get_torch_safe_globals()):
        content = torch.load(path, weights_only=True)
    assert '__builtins__' in content['asked']  # From which exec is one step away.


PLACES_OF_PROGRAMS = {
    'meta.config': lambda content, text: content['meta'].update(config=text),
    'meta.cfg': lambda content, text: content['meta'].update(cfg=text),
    'message_hub': lambda content, text: content['message_hub']['runtime_info'].update(cfg=text),
}


@pytest.fixture(scope='module')
def trained(tmp_path_factory) -> dict[str, Path]:
    """Checkpoints of one epoch, of a plain network and a distiller."""
    files = {}
    for kind, model in (('plain', student_config()), ('distiller', distiller_config())):
        folder = tmp_path_factory.mktemp(kind)
        build_runner(folder, model=model).train()
        files[kind] = folder / 'epoch_1.pth'
    return files


@pytest.mark.parametrize('place', PLACES_OF_PROGRAMS)
@pytest.mark.parametrize('trust', [False, True])
@pytest.mark.parametrize('kind', ['plain', 'distiller'])
def test_the_text_of_a_config_in_a_checkpoint_is_never_run(
    kind, trust, place, trained, tmp_path, monkeypatch
):
    refuse_code_in_files(trust)
    content = read_checkpoint(str(trained[kind]))
    marker, path = tmp_path / 'marker', tmp_path / 'epoch_1.pth'
    text = f'from pathlib import Path\nPath({str(marker)!r}).touch()\n'
    PLACES_OF_PROGRAMS[place](content, text)
    torch.save(content, path)
    model = student_config() if kind == 'plain' else distiller_config()
    runner = build_runner(tmp_path / 'run', model=model, epochs=2, load_from=str(path), resume=True)
    runner.train()
    assert runner.epoch == 2
    assert not marker.exists()
    monkeypatch.delenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD')
    saved = torch.load(tmp_path / 'run' / 'epoch_2.pth', weights_only=False)
    assert saved['meta']['cfg'] == runner.cfg.pretty_text
    assert saved['message_hub']['runtime_info']['cfg'] == runner.cfg.pretty_text


def test_a_distillers_run_that_no_tool_started_runs_no_text_of_a_checkpoint(trained, tmp_path):
    content = read_checkpoint(str(trained['distiller']))
    marker, path = tmp_path / 'marker', tmp_path / 'epoch_1.pth'
    content['meta']['config'] = f'from pathlib import Path\nPath({str(marker)!r}).touch()\n'
    torch.save(content, path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mmengine_checkpoint, '_safe_torch_load', torch.load, raising=False)
        patch.setitem(CheckpointLoader._schemes, '', lambda name, where: content)
        runner = build_runner(
            tmp_path / 'run', model=distiller_config(), epochs=2, load_from=str(path), resume=True
        )
        runner.train()
    assert runner.epoch == 2
    assert not marker.exists()


# Calls that read a file, by their last name. A new one has to be in docs/files.md.
READS = {
    *('load', 'loads', 'safe_load', 'loadtxt', 'genfromtxt', 'read', 'read_text', 'read_bytes'),
    *(
        'open',
        'fromfile',
        'memmap',
        'open_memmap',
        'imread',
        'imfrombytes',
        'decode_image',
        'read_image',
    ),
    *(
        'load_data_only',
        'load_trusted',
        'load_file',
        'load_checkpoint',
        'load_state_dict_from_url',
        'load_url',
        'get_model',
    ),
    *(
        'init_detector',
        'init_model',
        'InferenceSession',
        'ZipFile',
        'genops',
        'find_latest_checkpoint',
    ),
    *('from_pretrained', 'create_model', 'scan_cache_dir'),
    *('load_digits', 'load_data_list', 'get_config', 'download_and_extract_archive'),
    *('read_csv', 'read_pickle', 'parse', 'iterparse', 'EventAccumulator', 'list_from_file'),
    *('unpack_archive', 'extractall', 'COCO', 'TorchScript', 'load_from_url', 'exec', 'eval'),
}
_WRITES = {'w', 'a', 'x', 'wb', 'ab', 'xb'}


class _Readers(ast.NodeVisitor):
    """Collects the functions that read a file."""

    def __init__(self) -> None:
        self.inside: list[str] = []
        self.found: set[str] = set()

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.ClassDef) -> None:
        self.inside.append(node.name)
        self.generic_visit(node)
        self.inside.pop()

    visit_ClassDef = visit_FunctionDef  # noqa: N815

    def visit_Call(self, node: ast.Call) -> None:
        name = getattr(node.func, 'attr', None) or getattr(node.func, 'id', '')
        modes = {argument.value for argument in node.args if isinstance(argument, ast.Constant)}
        of_a_module = ast.unparse(node.func) == 'ast.parse'  # Of text that has been read.
        evaluates = name == 'eval' and isinstance(node.func, ast.Attribute)  # nn.Module.eval().
        if name in READS and not (modes & _WRITES or of_a_module or evaluates):
            self.found.add('.'.join(self.inside))
        self.generic_visit(node)


def test_the_small_detector_is_read_from_a_good_file(tmp_path):
    with DefaultScope.overwrite_default_scope('mmdet'):
        weights = MODELS.build(_detector().model).state_dict()
    content = dict(state_dict=weights, meta=dict(dataset_meta=dict(classes=('cat',))))
    torch.save(content, tmp_path / 'good.pth')
    _trained_detector(tmp_path / 'good.pth')
    with pytest.raises(AttributeError, match='test_dataloader'):  # What mmdet reads next.
        _mmdet(_detector(), tmp_path / 'good.pth')


def test_the_table_of_docs_has_every_reader():
    found = set()
    for path in [*ROOT.glob('mmmuse/**/*.py'), *ROOT.glob('tools/**/*.py')]:
        visitor = _Readers()
        visitor.visit(ast.parse(path.read_text()))
        found |= {f'{path.relative_to(ROOT)}:{name}' for name in visitor.found}
    text = (ROOT / 'docs' / 'files.md').read_text()
    table = set(re.findall(r'^\| `([\w/]+\.py:[\w.]+)` \|', text, re.MULTILINE))
    assert sorted(found - table) == []  # Readers that the table lacks.
    assert sorted(table - found) == []  # Rows of no reader.


def test_a_reader_that_is_not_in_the_table_is_found():
    visitor = _Readers()
    visitor.visit(ast.parse('class A:\n  def f(self):\n    return np.load(path)\n'))
    assert visitor.found == {'A.f'}


def test_every_command_makes_mmengine_read_safely():
    commands = ROOT / 'mmmuse' / 'commands'
    for path in [*commands.glob('*.py'), *ROOT.glob('tools/**/*.py')]:
        text = path.read_text()
        if 'with explained(' in text:
            first = re.search(r'with explained\([^\n]*:\n\s*(\S[^\n]*)', text)[1]
            flags = commands / 'parsers' / path.name if path.parent == commands else path
            trusted = re.search('--trust-checkpoint|add_run_flags', flags.read_text())
            flag = 'args.trust_checkpoint' if trusted else ''
            assert first == f'refuse_code_in_files({flag})', path
