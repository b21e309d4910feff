import ast
import subprocess
import sys
from pathlib import Path

FRESH = """
import sys
import mmmuse
{more}
print([name for name in ('mmdet', 'torchvision', 'mmpretrain') if name in sys.modules])
"""


def imported(more: str = '') -> str:
    script = FRESH.format(more=more)
    return subprocess.run(
        [sys.executable, '-c', script], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_importing_the_package_imports_no_model_library():
    assert imported() == '[]'


def test_the_formulas_and_taps_need_torch_alone():
    assert imported('import mmmuse.functional, mmmuse.tapping.taps, mmmuse.tapping.dry_run') == '[]'


def test_scikit_learn_is_imported_only_where_it_is_used():
    """A module that imports it when it is itself imported would make every model need it."""
    package = Path(__file__).resolve().parents[1] / 'mmmuse'
    texts = {path: path.read_text() for path in package.rglob('*.py')}
    users = {path: text for path, text in texts.items() if 'from sklearn' in text}
    assert {path.name for path in users} == {'digits.py', 'anchors.py'}
    for path, text in users.items():
        at_the_top = [ast.unparse(node) for node in ast.parse(text).body]
        assert not any(
            line.startswith(('from sklearn', 'import sklearn')) for line in at_the_top
        ), path


def test_mmengine_finds_the_registered_parts_by_itself():
    found = imported(
        'from mmengine.registry import MODELS\n'
        "loss = MODELS.build(dict(type='mmmuse.DonskerVaradhan', momentum=0.5))\n"
        'print(loss.momentum)'
    )
    assert '0.5' in found.splitlines()
