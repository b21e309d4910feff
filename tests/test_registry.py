"""What is found in the registries; tests/test_import.py has what a look-up imports."""

import pytest

from mmmuse.registry import METRICS, MODELS, _classes_in


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
