"""Checkpoints are read without running their code, and what is saved comes back."""

import os
import pickle
import random
import zipfile

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim import OneCycleLR
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler

from mmmuse.checkpoints.archive import LIMIT
from mmmuse.checkpoints.files import read_checkpoint, read_file
from mmmuse.checkpoints.safe_globals import is_allowed
from mmmuse.distillers.teacher import load_teacher_weights
from mmmuse.errors import InputError

from ..conftest import needs_torch
from ..crafted_files import Call


def saved(path, content, **options) -> str:
    torch.save(content, path, **options)
    return str(path)


@pytest.mark.parametrize('is_zip', [True, False])
def test_what_mmengine_saves_comes_back(tmp_path, is_zip):
    history = HistoryBuffer([0.5, 2.0, 1.0], [1, 1, 2], max_length=7)
    content = dict(
        state_dict={'w': torch.arange(6.0).reshape(2, 3).t(), 'n': torch.tensor(3)},
        meta=dict(epoch=2, dataset_meta=dict(classes=('a', 'b')), empty=b''),
        log=dict(loss=history),
        score=np.float64(0.25),
        parameter=torch.nn.Parameter(torch.ones(2)),
        dtype=torch.bfloat16,
        others=[{1, 2}, slice(1, 3), complex(1, 2), None, 10**30],
    )
    path = saved(tmp_path / 'a.pth', content, _use_new_zipfile_serialization=is_zip)
    found = read_file(path)
    for name, value in content['state_dict'].items():
        assert torch.equal(found['state_dict'][name], value)
    for key in ('meta', 'score', 'dtype', 'others'):
        assert found[key] == content[key]
    assert type(found['score']) is np.float64
    assert torch.equal(found['parameter'], torch.ones(2))
    loss = found['log']['loss']
    assert type(loss) is HistoryBuffer
    assert (loss.min(), loss.max(), loss.current(), loss.max_length) == (0.5, 2.0, 1.0, 7)
    assert loss.mean() == loss.statistics('mean') == 3.5 / 4
    loss.update(3.0)
    assert loss.current() == 3.0


@pytest.mark.parametrize(
    'classes', [None, ('a', 'b'), ['a', 'b'], np.array(['a', 'b']), np.array([]), 'a']
)
def test_class_names_are_a_list_or_an_array_or_none(tmp_path, classes):
    content = dict(state_dict={'w': torch.ones(2)}, meta=dict(dataset_meta=dict(classes=classes)))
    found = read_checkpoint(saved(tmp_path / 'a.pth', content))['meta']['dataset_meta']['classes']
    assert (None if found is None else list(found)) == (None if classes is None else list(classes))


@pytest.mark.parametrize('classes', [[1, 2], np.array([1, 2]), np.array([['a']]), 3, {'a': 1}])
def test_other_class_names_are_refused(tmp_path, classes):
    content = dict(state_dict={'w': torch.ones(2)}, meta=dict(dataset_meta=dict(classes=classes)))
    with pytest.raises(InputError, match='without a list of class names'):
        read_checkpoint(saved(tmp_path / 'a.pth', content))


@pytest.mark.parametrize('of_data', ['a', ['a'], np.array(['a', 'b'])])
def test_what_is_known_of_the_data_is_a_dict(tmp_path, of_data):
    content = dict(state_dict={'w': torch.ones(2)}, meta=dict(dataset_meta=of_data))
    with pytest.raises(InputError, match='without a list of class names'):
        read_checkpoint(saved(tmp_path / 'a.pth', content))


@pytest.mark.parametrize(
    'array',
    [
        np.arange(6, dtype=dtype).reshape(2, 3, order=order)
        for dtype in ('i1', 'u4', '<i8', '>i4', 'f2', 'f4', '>f8', 'c8')
        for order in 'CF'
    ]
    + [np.empty((0, 3)), np.array(3.5), np.array([True, False]), np.array(['ab', 'c'])],
    ids=lambda array: f'{array.dtype.str}{array.shape}{"F" * array.flags.f_contiguous}',
)
def test_arrays_come_back_and_can_be_written_to(tmp_path, array):
    path = saved(tmp_path / 'a.pth', dict(nested=[(1, dict(a=array))]))
    found = read_file(path)['nested'][0][1]['a']
    assert type(found) is np.ndarray
    assert found.dtype == array.dtype
    assert found.dtype.byteorder == array.dtype.byteorder
    assert np.array_equal(found, array)
    assert found.flags.f_contiguous == array.flags.f_contiguous
    assert found.flags.c_contiguous == array.flags.c_contiguous
    assert found.flags.writeable


def test_random_states_come_back(tmp_path):
    states = dict(
        python=random.getstate(), numpy=np.random.get_state(), torch=torch.get_rng_state()
    )
    found = read_file(saved(tmp_path / 'a.pth', states))
    before = (random.random(), np.random.rand())
    random.setstate(found['python'])
    np.random.set_state(found['numpy'])
    assert (random.random(), np.random.rand()) == before
    assert torch.equal(found['torch'], states['torch'])


def test_a_list_in_itself_comes_back(tmp_path):
    own = [np.arange(2)]
    own.append(own)
    found = read_file(saved(tmp_path / 'a.pth', own))
    assert found[1] is found
    assert np.array_equal(found[0], [0, 1])


def test_arrays_of_numpy_1_are_read(tmp_path):
    path = tmp_path / 'a.pth'
    saved(path, dict(a=np.arange(3)))
    with zipfile.ZipFile(path) as new, zipfile.ZipFile(tmp_path / 'old.pth', 'w') as old:
        for name in new.namelist():
            old.writestr(name, new.read(name).replace(b'numpy._core', b'numpy.core'))
    assert np.array_equal(read_file(str(tmp_path / 'old.pth'))['a'], [0, 1, 2])


def test_a_history_brings_no_functions(tmp_path, monkeypatch):
    """MMEngine's own class takes over the functions of the file, for all histories."""
    with monkeypatch.context() as patch:
        patch.setattr(HistoryBuffer, '_statistics_methods', {'mean': HistoryBuffer.max})
        path = saved(tmp_path / 'a.pth', HistoryBuffer([1.0, 4.0], [1, 1]))
    found = read_file(path)
    assert type(found) is HistoryBuffer
    assert vars(found).keys() == {'max_length', '_log_history', '_count_history'}
    assert found.statistics('mean') == HistoryBuffer([0.0], [1]).statistics('mean') + 2.5


@pytest.mark.parametrize('name', ['min', 'max', 'mean', 'current'])
def test_the_statistics_of_a_history_are_all_that_getattr_gives(tmp_path, name):
    found = read_file(saved(tmp_path / 'a.pth', [Call(getattr, HistoryBuffer, name)]))
    assert found == [getattr(HistoryBuffer, name)]


@pytest.mark.parametrize('name', ['__init__', '__globals__', 'update', 'register_statistics'])
def test_other_attributes_are_refused(tmp_path, name):
    path = saved(tmp_path / 'a.pth', [Call(getattr, HistoryBuffer, name)])
    with pytest.raises(InputError, match='holds more than weights, and loading it could run code'):
        read_file(path)


@pytest.mark.parametrize('formula', ['cos', 'linear'])
@pytest.mark.parametrize('is_zip', [True, False])
def test_the_state_of_a_one_cycle_schedule_comes_back(tmp_path, formula, is_zip):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    state = OneCycleLR(optimizer, eta_max=0.1, total_steps=5, anneal_strategy=formula).state_dict()
    path = saved(tmp_path / 'a.pth', [state], _use_new_zipfile_serialization=is_zip)
    (found,) = read_file(path)
    assert found == state
    assert found['anneal_func'] is getattr(OneCycleParamScheduler, f'_annealing_{formula}')


@pytest.mark.parametrize('name', ['__init__', 'build_iter_from_epoch', 'state_dict'])
def test_other_attributes_of_a_schedule_are_refused(tmp_path, name):
    path = saved(tmp_path / 'a.pth', [Call(getattr, OneCycleParamScheduler, name)])
    with pytest.raises(InputError, match='holds more than weights'):
        read_file(path)


def test_a_schedule_is_not_built_from_a_file(tmp_path):
    path = saved(tmp_path / 'a.pth', [Call(OneCycleParamScheduler, 1, 'lr', 0.1)])
    with pytest.raises(InputError, match='holds more than weights'):
        read_file(path)


@needs_torch('2.5', 'a list that others can add to for a while')
def test_classes_that_others_have_allowed_are_refused(tmp_path):
    path = saved(tmp_path / 'a.pth', [random.Random(0)])
    with torch.serialization.safe_globals([random.Random]):
        with pytest.raises(InputError, match='holds more than weights'):
            read_file(path)
        assert random.Random in torch.serialization.get_safe_globals()


@pytest.mark.parametrize(
    'name',
    [
        *('builtins.eval', 'builtins.bytearray', 'builtins.type', 'os.system', 'posix.system'),
        *('collections.Counter.update', 'torch.load', 'torch.hub.load', 'torch.ops.load_library'),
        *('torch.storage._load_from_bytes', 'torch.jit.load', 'numpy.load', 'numpy.memmap'),
        *('torch._tensor._rebuild_from_type_v2', 'functools.partial', 'operator.attrgetter'),
    ],
)
def test_functions_are_not_on_the_list(name):
    assert not is_allowed(name)


def test_a_storage_that_is_shorter_than_it_says_is_refused(tmp_path):
    path = tmp_path / 'a.pth'
    saved(path, dict(state_dict={'w': torch.zeros(4)}))
    with zipfile.ZipFile(path) as good, zipfile.ZipFile(tmp_path / 'bad.pth', 'w') as bad:
        for name in good.namelist():
            # BININT1 4, the length of the storage, to BININT1 200.
            bad.writestr(name, good.read(name).replace(b'K\x04', b'K\xc8'))
    with pytest.raises(InputError, match='is truncated or not a checkpoint'):
        read_file(str(tmp_path / 'bad.pth'))


def test_a_trusted_file_is_read_whole_but_its_config_is_not_kept(tmp_path):
    content = dict(state_dict={'w': torch.zeros(1)}, meta=dict(config='1/0', cfg='1/0', a=1))
    path = saved(tmp_path / 'a.pth', {**content, 'others': random.Random(0)})
    found = read_checkpoint(path, trust=True)
    assert isinstance(found['others'], random.Random)
    assert found['meta'] == dict(a=1)


@pytest.mark.parametrize('trust', ['no', 'yes', 'True', 1, 0, None])
def test_a_flag_of_trust_is_a_boolean(tmp_path, trust):
    path = saved(tmp_path / 'a.pth', Call(os.getpid))
    with pytest.raises(InputError, match='is True or False, got'):
        read_file(path, trust)
    with pytest.raises(InputError, match='is True or False, got'):
        load_teacher_weights(torch.nn.Linear(1, 1), path, trust)


def test_a_file_above_the_limit_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / 'a.pth'
    with path.open('wb') as file:
        file.truncate(65 * 2**30)  # Sparse: it takes no space.
    with pytest.raises(InputError, match=r'a\.pth has 65\.0 GiB, and the limit is 64: .*' + LIMIT):
        read_file(str(path))
    path = saved(tmp_path / 'b.pth', dict(w=torch.zeros(1000)))
    monkeypatch.setenv(LIMIT, '1e-6')
    with pytest.raises(InputError, match='the limit is 1e-06'):
        read_file(path)
    monkeypatch.setenv(LIMIT, '1')
    assert len(read_file(path)['w']) == 1000
    for wrong in ('many', '0', '-1', 'nan'):
        monkeypatch.setenv(LIMIT, wrong)
        with pytest.raises(InputError, match='is a number of GiB above 0'):
            read_file(path)


def test_entries_that_share_their_bytes_are_refused(tmp_path):
    """A zip directory may name the same bytes many times."""
    path = tmp_path / 'a.pth'
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('archive/data.pkl', pickle.dumps({}, protocol=2))
        archive.writestr('archive/data/0', bytes(10_000))
        first = archive.getinfo('archive/data/0')
        for number in range(1, 100):
            copy = zipfile.ZipInfo(f'archive/data/{number}')
            for field in ('file_size', 'compress_size', 'CRC', 'header_offset', 'external_attr'):
                setattr(copy, field, getattr(first, field))
            archive.filelist.append(copy)
    with pytest.raises(InputError, match='is compressed, which PyTorch never does'):
        read_file(str(path))
