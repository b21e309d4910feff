import subprocess
import sys

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


def test_mmengine_finds_the_registered_parts_by_itself():
    found = imported(
        'from mmengine.registry import MODELS\n'
        "loss = MODELS.build(dict(type='mmmuse.DonskerVaradhan', momentum=0.5))\n"
        'print(loss.momentum)'
    )
    assert '0.5' in found.splitlines()
