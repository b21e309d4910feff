import pytest
import torch

from mmmuse.errors import InputError
from mmmuse.jobs import devices
from mmmuse.jobs.devices import check_devices, environment


@pytest.fixture(autouse=True)
def _memory(monkeypatch):
    monkeypatch.setattr(devices, 'memory_gib', lambda device: 1.2)


def test_a_run_sees_its_own_gpu_alone(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    assert check_devices(None) == ['cuda:0', 'cuda:1']
    assert check_devices(['cuda', 'cuda:1']) == ['cuda:0', 'cuda:1']
    assert environment('cuda:1', ['cuda:0', 'cuda:1'])['CUDA_VISIBLE_DEVICES'] == '1'
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '5, 3')
    assert environment('cuda:1', ['cuda:1'])['CUDA_VISIBLE_DEVICES'] == '3'
    with pytest.raises(InputError, match="unknown device 'cuda:2'; available: cpu, cuda:0, cuda:1"):
        check_devices(['cuda:2'])


def test_the_processor_is_what_is_left_without_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 0)
    assert check_devices(None) == ['cpu']
    assert environment('cpu', ['cpu'])['CUDA_VISIBLE_DEVICES'] == ''


def test_runs_on_the_processor_share_its_cores_unless_the_user_says_how_many_threads(monkeypatch):
    monkeypatch.setattr('os.sched_getaffinity', lambda process: {0, 1, 2, 3}, raising=False)
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    assert environment('cpu', ['cpu'])['OMP_NUM_THREADS'] == '4'
    assert environment('cpu', ['cpu'] * 3)['OMP_NUM_THREADS'] == '1'
    assert environment('cpu', ['cpu'] * 9)['OMP_NUM_THREADS'] == '1'
    monkeypatch.setenv('OMP_NUM_THREADS', '3')
    assert environment('cpu', ['cpu'] * 2)['OMP_NUM_THREADS'] == '3'


def test_more_slots_than_memory_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
    assert check_devices(['cpu', 'cuda', 'cpu', 'cuda:0']) == ['cpu', 'cuda:0', 'cpu', 'cuda:0']
    with pytest.raises(
        InputError,
        match=r'^cpu is given 3 times and has 1\.2 GiB of memory: a run takes at least 0\.5 GiB, so give '
        'it at most 2 times$',
    ):
        check_devices(['cuda', 'cpu', 'cpu', 'cpu'])
    with pytest.raises(InputError, match=r'^cuda:0 is given 3 times'):
        check_devices(['cuda', 'cuda:0', 'cuda'])


def test_memory_that_is_not_known_limits_nothing(monkeypatch):
    monkeypatch.setattr(devices, 'memory_gib', lambda device: None)
    assert check_devices(['cpu'] * 1000) == ['cpu'] * 1000
