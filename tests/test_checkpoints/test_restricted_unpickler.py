"""Our unpickler, for versions of PyTorch that cannot be given our list of globals, builds nothing else."""

import io
import pickle
import struct
import zipfile
from collections import Counter, OrderedDict

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from mmmuse.checkpoints import data_only
from mmmuse.checkpoints.data_only import load_data_only
from mmmuse.checkpoints.restricted_unpickler import load
from mmmuse.checkpoints.safe_globals import with_arrays

from ..crafted_files import CONTENTS, Call


@pytest.fixture(autouse=True)
def _ours_on_every_version(monkeypatch):
    monkeypatch.setattr(data_only, '_LIST_IS_OURS', False)


def read(content: bytes) -> object:
    return load(io.BytesIO(content))


def refers_to(name: str) -> bytes:
    """A pickle of one global."""
    module, _, name = name.rpartition('.')
    return f'c{module}\n{name}\n.'.encode()


@pytest.mark.parametrize('is_zip', [True, False])
@pytest.mark.parametrize('mmap', [True, False])
def test_a_checkpoint_comes_back(tmp_path, is_zip, mmap):
    if mmap and not is_zip:
        pytest.skip('PyTorch maps zip files only')
    weights = OrderedDict(w=torch.arange(6.0).reshape(2, 3).t(), h=torch.ones(2).bfloat16())
    weights._metadata = OrderedDict({'': dict(version=2)})
    content = dict(
        state_dict=weights,
        counts=Counter('aab'),
        log=HistoryBuffer([0.5, 2.0], [1, 1]),
        score=np.float64(0.25),
        array=np.arange(6.0).reshape(2, 3),
        parameter=torch.nn.Parameter(torch.ones(2)),
        others=[{1, 2}, slice(1, 3), complex(1, 2), torch.Size([2]), torch.device('cpu'), b'a'],
    )
    path = tmp_path / 'a.pth'
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    found = with_arrays(load_data_only(path, mmap=mmap))
    assert found['state_dict']._metadata == weights._metadata
    for name, value in weights.items():
        assert torch.equal(found['state_dict'][name], value)
    for key in ('counts', 'score', 'others'):
        assert found[key] == content[key]
    assert type(found['counts']) is Counter
    assert found['log'].mean() == 1.25
    assert np.array_equal(found['array'], content['array'])
    assert torch.equal(found['parameter'], torch.ones(2))


@pytest.mark.parametrize('kind', [name for name, crafted in CONTENTS.items() if crafted.runs_code])
def test_a_crafted_file_runs_no_code(tmp_path, kind):
    """Read without the checks that come before: the unpickler refuses it by itself."""
    path, marker = tmp_path / 'file.pth', tmp_path / 'marker'
    path.write_bytes(CONTENTS[kind].content(marker))
    with pytest.raises(Exception):  # noqa: B017, PT011 - damaged for PyTorch, or refused.
        load_data_only(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    'name',
    [
        *('builtins.eval', '__builtin__.eval', 'builtins.bytearray', 'os.system', 'posix.system'),
        *('builtins.getattr.__call__', 'torch.load', 'torch.hub.load', 'torch.jit.load'),
        *(
            'torch.int_repr',
            'torch.complex',
            'torch.bool.__class__',
            'torch.storage._load_from_bytes',
        ),
    ],
)
def test_other_globals_are_refused(name):
    with pytest.raises(pickle.UnpicklingError, match='Unsupported global'):
        read(refers_to(name))


@pytest.mark.parametrize('protocol', range(2, 6))
def test_the_protocol_does_not_matter(protocol):
    with pytest.raises(pickle.UnpicklingError, match=r'Unsupported global: builtins\.eval'):
        read(pickle.dumps(Call(eval, '1/0'), protocol))
    values = [1, 2.5, 'text', b'bytes', {1, 2}, 10**30, (1, [2])]
    assert read(pickle.dumps(values, protocol)) == values


@pytest.mark.parametrize(
    'call',
    [
        Call(torch.Tensor, 10**12),
        Call(torch.FloatTensor.__base__, 10**12),
        Call(HistoryBuffer.mean, [1]),
        Call(np.ndarray, (10**12,)),
    ],
    ids=['Tensor', 'TensorBase', 'a method', 'ndarray'],
)
def test_only_functions_that_rebuild_are_called(call):
    with pytest.raises((pickle.UnpicklingError, TypeError)):
        read(pickle.dumps(call, 2))


def test_the_state_of_a_class_or_a_function_is_not_changed():
    """BUILD sets attributes of whatever is on the stack, in Python's own unpickler."""
    state = pickle.dumps((None, {'fromkeys': 1}), 2)[2:-1]
    for name in ('collections.Counter', 'torch._utils._rebuild_tensor_v2', 'torch.Tensor'):
        with pytest.raises(pickle.UnpicklingError, match='the state of a'):
            read(refers_to(name)[:-1] + state + b'b.')
    assert Counter.fromkeys is not 1  # noqa: F632


def test_the_state_of_a_dict_is_the_metadata_of_its_modules_only():
    # An attribute of the instance would be found before the method.
    content = b'ccollections\nOrderedDict\n)R}X\x05\x00\x00\x00itemsK\x01sb.'
    with pytest.raises(pickle.UnpicklingError, match='the state of a OrderedDict'):
        read(content)


@pytest.mark.parametrize(
    'content',
    [
        b'(cbuiltins\nslice\nK\x01o.',  # OBJ
        b'(K\x01ibuiltins\nslice\n.',  # INST
        b'\x80\x02\x82\x01.',  # EXT1
        b'P0\n.',  # PERSID
        b'\x80\x05\x96' + struct.pack('<Q', 10**13) + b'.',  # BYTEARRAY8, of ten terabytes
        b'\x80\x05\x97.',  # NEXT_BUFFER
    ],
    ids=['OBJ', 'INST', 'EXT1', 'PERSID', 'BYTEARRAY8', 'NEXT_BUFFER'],
)
def test_opcodes_that_no_checkpoint_has_are_refused(content):
    with pytest.raises(pickle.UnpicklingError, match='an opcode that PyTorch does not write'):
        read(content)


def test_an_object_outside_of_the_pickle_is_a_storage():
    content = pickle.dumps(('module', 'a', 'b', 'c'), 2)[:-1] + b'Q.'
    with pytest.raises(pickle.UnpicklingError, match='an object outside of the pickle'):
        read(content)


def test_a_storage_that_is_shorter_than_its_pickle_says_is_refused(tmp_path):
    good, bad = tmp_path / 'good.pth', tmp_path / 'bad.pth'
    torch.save(torch.zeros(4), good)
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(bad, 'w') as target:
        for name in source.namelist():
            # BININT1 4, the length of the storage, to BININT1 200.
            target.writestr(name, source.read(name).replace(b'K\x04', b'K\xc8'))
    with pytest.raises((pickle.UnpicklingError, RuntimeError), match='16 bytes'):
        load_data_only(bad)


@pytest.mark.parametrize('mmap', [True, False])
def test_a_torchscript_program_is_not_run(tmp_path, mmap):
    path = tmp_path / 'program.pth'
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(path))
    with pytest.raises((pickle.UnpicklingError, RuntimeError), match='TorchScript'):
        load_data_only(path, mmap=mmap)


def test_the_environment_variable_of_pytorch_is_restored(tmp_path, monkeypatch):
    path = tmp_path / 'a.pth'
    torch.save(dict(w=torch.ones(1)), path)
    monkeypatch.setenv(data_only.FORCE, '1')
    load_data_only(path)
    assert data_only.os.environ[data_only.FORCE] == '1'
