"""Which libraries a look-up in the registries imports."""

import subprocess
import sys

import pytest

from mmmuse.registry import METRICS, MODELS, _classes_in

pytestmark = pytest.mark.slow

PROGRAM = """
import sys
{first}
from mmmuse.environment.requirements import check_library
from mmmuse.errors import InputError
from mmmuse.registry import METRICS, MODELS, HOOKS

def imported():
    return [name for name in ('mmdet.models', 'mmseg.models') if sys.modules.get(name)]

{then}
"""


def printed(then: str, first: str = '') -> list[str]:
    program = PROGRAM.format(first=first, then=then)
    run = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True, check=True
    )
    return [line for line in run.stdout.splitlines() if line.startswith('> ')]


def test_the_parts_of_a_library_are_known_without_it():
    assert {'DetectionSelfDistiller', 'YOLOv5Head'} <= _classes_in('mmmuse.detection')
    assert {'SegmentationSelfDistiller', 'ClassIoUMetric'} <= _classes_in('mmmuse.segmentation')
    assert not _classes_in('mmmuse.detection') & _classes_in('mmmuse.segmentation')


@pytest.mark.parametrize(
    ('registry', 'name'), [(MODELS, 'DetectionExit'), (METRICS, 'ZeroCocoMetric')]
)
def test_a_part_of_a_detector_is_found(registry, name):
    pytest.importorskip('mmdet')
    assert registry.get(f'mmmuse.{name}').__name__ == registry.get(name).__name__ == name


def test_classification_and_detection_import_no_mmseg():
    found = printed(
        "MODELS.get('mmmuse.SelfDistiller'), METRICS.get('mmmuse.ExitAccuracy')\n"
        "HOOKS.get('mmmuse.ClassCountHook'), MODELS.get('mmmuse.NoSuchPart')\n"
        "print('>', 'mmseg.models' in imported())\n"
        "MODELS.get('mmmuse.DetectionExit'), METRICS.get('mmmuse.ExitDetectionMetric')\n"
        "print('>', imported())"
    )
    assert found == ['> False', "> ['mmdet.models']"]


def test_a_config_that_needs_mmseg_names_the_extra_where_it_is_missing():
    found = printed(
        "for act in (lambda: MODELS.get('mmmuse.SegmentationSelfDistiller'),"
        " lambda: check_library('mmseg')):\n"
        '    try:\n'
        '        act()\n'
        '    except InputError as error:\n'
        "        print('>', error)\n"
        "print('>', check_library('mmdet'), MODELS.get('mmmuse.SelfDistiller').__name__)",
        first="sys.modules['mmseg'] = None",
    )
    assert found[0].startswith(
        '> mmmuse.SegmentationSelfDistiller needs mmseg, which cannot be imported (No module named '
        "'mmseg.datasets'; 'mmseg' is not a package): pip install"
    )
    assert found[1].startswith("> the config is for mmseg (default_scope = 'mmseg'), which is not")
    assert all('[segmentation]' in line or 'onedl-mmsegmentation' in line for line in found[:2])
    assert found[2:] == ['> None SelfDistiller']
