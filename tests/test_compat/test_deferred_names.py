"""An import of a slow package is an object that imports at its first use."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType

import pytest

from mmmuse.compat import deferred_names
from mmmuse.compat.deferred_names import DeferredName

# A package of two modules in place of scikit-learn, which the process may have imported.
PACKAGE = 'slow_package_of_a_test'
INSIDE = """
class Part:
    def __init__(self, value):
        self.value = value

def double(value):
    return 2 * value
"""


@pytest.fixture
def loaded(tmp_path, monkeypatch):
    """Load a module of this text as one of mmdet is loaded."""
    (tmp_path / PACKAGE).mkdir()
    (tmp_path / PACKAGE / '__init__.py').write_text('constant = 3\n')
    (tmp_path / PACKAGE / 'inside.py').write_text(INSIDE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(deferred_names, '_SLOW', (PACKAGE, 'slow_and_missing'))

    def load(text: str) -> ModuleType:
        path = tmp_path / 'one_of_mmdet.py'
        path.write_text(text)
        loader = deferred_names._DeferringLoader('one_of_mmdet', str(path))
        spec = spec_from_file_location('one_of_mmdet', path, loader=loader)
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    yield load
    for name in [name for name in sys.modules if name.partition('.')[0] == PACKAGE]:
        del sys.modules[name]


def is_imported() -> bool:
    return PACKAGE in sys.modules


@pytest.mark.parametrize(
    ('statement', 'use', 'value'),
    [
        (f'from {PACKAGE}.inside import double', 'double(4)', 8),
        (f'from {PACKAGE}.inside import Part, double as d', 'd(Part(2).value)', 4),
        (f'from {PACKAGE} import inside', 'inside.double(1)', 2),
        (f'import {PACKAGE}', f'{PACKAGE}.constant', 3),
        (f'import {PACKAGE}.inside as i', 'i.double(5)', 10),
        (f'import {PACKAGE}.inside', f'{PACKAGE}.inside.double(5)', 10),
        (f'import json, {PACKAGE} as s', 's.constant + json.loads("1")', 4),
        (f'try:\n    import {PACKAGE}\nexcept ImportError:\n    pass', f'{PACKAGE}.constant', 3),
        (f'if True:\n    from {PACKAGE}.inside import double as d', 'd(3)', 6),
    ],
)
def test_a_name_is_imported_when_it_is_used(loaded, statement, use, value):
    module = loaded(f'{statement}\n\ndef use():\n    return {use}\n')
    assert not is_imported()
    assert module.use() == value
    assert is_imported()


def test_a_class_can_be_derived_from_and_asked_for_its_instances(loaded):
    text = f'from {PACKAGE}.inside import Part\n'
    module = loaded(f'{text}class Mine(Part):\n    pass\nmine = isinstance(Mine(1), Part)\n')
    assert module.mine
    assert module.Mine.__mro__[1].__module__ == f'{PACKAGE}.inside'


def test_a_late_base_takes_its_place_at_the_first_instance(loaded, monkeypatch):
    monkeypatch.setattr(deferred_names, '_LATE_BASES', {PACKAGE})
    module = loaded(
        f'from {PACKAGE}.inside import Part\n'
        'class Mine(Part):\n'
        '    def __init__(self, value):\n'
        '        super().__init__(value + 1)\n'
        'class Below(Mine):\n    pass\n'
    )
    assert not is_imported()
    assert module.Below(1).value == 2
    assert [kind.__name__ for kind in module.Below.__mro__] == ['Below', 'Mine', 'Part', 'object']
    assert isinstance(module.Mine(1), module.Part)


def test_a_package_that_is_not_installed_is_missed_where_it_is_imported(loaded):
    text = 'try:\n    from slow_and_missing import x\n    has = True\nexcept ImportError:\n    has = False\n'
    assert loaded(text).has is False
    with pytest.raises(ModuleNotFoundError, match="No module named 'slow_and_missing'") as error:
        loaded('import slow_and_missing')
    assert error.value.name == 'slow_and_missing'


def test_a_name_that_the_package_lacks_is_missed_at_its_use(loaded):
    module = loaded(f'from {PACKAGE} import nothing\n')
    with pytest.raises(ImportError, match='nothing'):
        module.nothing()


@pytest.mark.parametrize('text', [f'import {PACKAGE}', f'from {PACKAGE} import constant'])
def test_a_statement_in_a_function_is_as_it_was(loaded, text):
    module = loaded(f'def use():\n    {text}\n    return {text.rpartition(" ")[2]}\n')
    assert not isinstance(module.use(), DeferredName)


def test_other_imports_and_the_lines_of_errors_are_as_they_were(loaded):
    module = loaded(f'import json\nfrom {PACKAGE} import constant\n\ndef use():\n    1 / 0\n')
    assert module.json is sys.modules['json']
    with pytest.raises(ZeroDivisionError) as error:
        module.use()
    assert (error.traceback[-1].path.name, error.traceback[-1].lineno + 1) == ('one_of_mmdet.py', 5)


def test_no_bytecode_of_the_changed_module_is_left(loaded, tmp_path):
    loaded(f'import {PACKAGE}\n')
    assert not list(tmp_path.glob('__pycache__/one_of_mmdet*'))


def test_only_modules_of_mmcv_and_mmdet_that_import_a_slow_package_are_changed():
    import mmcv.image
    import mmdet.models

    def loader_of(name: str, package: ModuleType) -> str:
        spec = deferred_names._Finder.find_spec(name, package.__path__)
        return type(spec.loader).__name__ if spec else 'none'

    assert loader_of('mmcv.image.io', mmcv.image) == '_DeferringLoader'
    assert loader_of('mmcv.image.misc', mmcv.image) == 'SourceFileLoader'
    assert loader_of('mmdet.models.builder', mmdet.models) == 'none'
    assert loader_of('sklearn.base', mmdet) == 'none'
