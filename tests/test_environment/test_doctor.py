"""``mmmuse check``: findings about an environment, with what to do, and an exit code."""

import json

import pytest

from .fake_site import FORKS, ORIGINALS, ROOT, install, run

pytestmark = pytest.mark.slow


@pytest.fixture
def check(tmp_path):
    """A function that runs the command in a fake environment: exit code, and findings by name."""

    def examine(distributions: dict[str, str], **texts: str | None) -> tuple[int, dict]:
        site = install(tmp_path / 'site', distributions, **texts)
        finished = run(site, tmp_path, 'check', '--json')
        assert finished.stderr == ''
        findings = json.loads(finished.stdout)
        return finished.returncode, {
            (each['name'], each['version'] == 'twice'): each for each in findings
        }

    return examine


def test_the_forks_are_ready(check):
    code, found = check(FORKS)
    assert code == 0
    assert found['mmengine', False]['detail'] == 'onedl-mmengine, maintained fork'
    assert found['torchvision', False]['detail'] == 'fits torch'
    assert found['mmdet', False]['state'] == 'note'
    assert found['mmdet', False]['remedy'] == 'pip install "onedl-mmdetection>=3.5.1"'
    assert found['onnx', False]['remedy'] == f'pip install -e "{ROOT}[export]"'


def test_the_originals_are_ready(check):
    code, found = check(ORIGINALS)
    assert code == 0
    assert found['mmpretrain', False]['detail'] == "mmpretrain, OpenMMLab's own release"
    assert found['mmcv', False]['detail'] == "mmcv-lite, OpenMMLab's own release"


def test_an_empty_environment_is_not(check, tmp_path):
    (tmp_path / 'site').mkdir()
    code, found = check({})
    assert code == 1
    assert found['torch', False]['remedy'] == f'pip install -e "{ROOT}[stack]"'


def test_a_torchvision_of_another_torch_is_found(check):
    raised = "raise RuntimeError('operator torchvision::nms does not exist')"
    code, found = check({**ORIGINALS, 'torchvision': '0.28.0'}, torchvision=raised)
    assert code == 1
    assert found['torchvision', False]['state'] == 'error'
    assert 'operator torchvision::nms does not exist' in found['torchvision', False]['detail']
    assert found['torchvision', False]['remedy'] == 'pip install "torchvision==0.19.*"'


def test_two_distributions_of_one_library_are_named(check):
    code, found = check({**ORIGINALS, 'onedl-mmengine': '0.10.12'})
    assert code == 0
    twice = found['mmengine', True]
    assert 'onedl-mmengine 0.10.12 and mmengine 0.10.7' in twice['detail']
    assert twice['remedy'].startswith('pip uninstall -y onedl-mmengine mmengine')


def test_a_library_that_ends_the_process_is_a_finding(check):
    code, found = check(FORKS, mmcv='import os; os._exit(7)')
    assert code == 1
    assert found['mmengine', False]['state'] == 'ok'
    assert found['mmcv', False]['detail'] == 'the import ended Python (code 7)'


def test_compiled_ops_are_told_from_those_in_torch(tmp_path):
    for name, has_ops in (('compiled', True), ('in torch', False)):
        site = install(tmp_path / name, FORKS)
        (site / 'mmcv' / 'ops').mkdir()
        (site / 'mmcv' / 'ops' / '__init__.py').write_text('')
        if has_ops:
            (site / 'mmcv' / '_ext.py').write_text('')
        else:  # The ops in torch import torch and torchvision.
            (site / 'mmcv' / '_ext.py').unlink(missing_ok=True)
        findings = json.loads(run(site, tmp_path, 'check', '--json').stdout)
        (ops,) = (each for each in findings if each['name'] == 'mmcv ops')
        assert (ops['version'] == 'compiled') == has_ops


def test_the_table_ends_with_what_to_do(tmp_path):
    site = install(tmp_path / 'site', {'torch': '2.4.1', 'torchvision': '0.19.1'})
    finished = run(site, tmp_path, 'check')
    lines = finished.stdout.splitlines()
    assert finished.returncode == 1
    assert f'mmengine, mmcv, mmpretrain: pip install -e "{ROOT}[stack]"' in lines
    assert lines[-1] == 'not ready: mmengine, mmcv, mmpretrain'
