import copy
import gc
import pickle
import weakref

import pytest
import torch
from torch import nn

from mmmuse.errors import InputError
from mmmuse.tapping.path_hooks import resolve_module
from mmmuse.tapping.taps import FeatureTaps
from tests.conftest import small_distiller


def two_layers() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))


class Pyramid(nn.Module):
    """Puts out several tensors, as a detector's neck does."""

    def forward(self, x):
        return x, x * 2, 'not a tensor'


class PyramidModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.neck = Pyramid()
        self.spare = nn.Identity()

    def forward(self, x):
        return self.neck(x)[1]


def test_hands_out_what_the_modules_put_out_in_the_order_of_the_paths():
    model = two_layers()
    taps = FeatureTaps(model, ['1', '0'])
    x = torch.randn(5, 4)
    with taps:
        output = model(x)
        features = taps.pop()
    assert list(features) == ['1', '0']
    assert features['1'] is output
    assert torch.equal(features['0'], model[0](x))
    features['0'].sum().backward()
    assert model[0].weight.grad is not None


def test_a_wrong_path_lists_the_nearest_real_ones():
    model = nn.ModuleDict(
        dict(backbone=nn.ModuleDict(dict(layer1=nn.Identity(), layer2=nn.Identity())))
    )
    with pytest.raises(InputError) as error:
        FeatureTaps(model, ['backbone.layr1'])
    assert str(error.value).startswith(
        "ModuleDict has no module 'backbone.layr1'; nearest: 'backbone.layer1', 'backbone.layer2'"
    )


def test_a_path_like_no_other_is_refused_too():
    with pytest.raises(InputError, match="Sequential has no module 'qqqq'; nearest: '"):
        FeatureTaps(two_layers(), ['qqqq'])


def test_the_model_itself_is_no_module_to_tap():
    with pytest.raises(InputError, match="no module ''"):
        FeatureTaps(two_layers(), [''])


def test_a_model_without_submodules_says_so():
    with pytest.raises(InputError, match='nearest: none'):
        resolve_module(nn.Identity(), 'layer1')


def test_resolves_a_path_to_its_module():
    model = two_layers()
    assert resolve_module(model, '1') is model[1]


def test_a_module_is_not_tapped_twice():
    with pytest.raises(InputError, match="'0' is tapped twice"):
        FeatureTaps(two_layers(), ['0', '1', '0'])


def test_a_module_that_the_forward_never_reaches_is_named():
    model = PyramidModel()
    taps = FeatureTaps(model, ['spare'])
    with taps:
        model(torch.zeros(1, 2))
        with pytest.raises(InputError, match="'spare' was not reached"):
            taps.pop()


def test_a_module_that_runs_twice_is_named():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.shared = nn.Linear(2, 2)

        def forward(self, x):
            return self.shared(self.shared(x))

    model = Twice()
    taps = FeatureTaps(model, ['shared'])
    with taps, pytest.raises(InputError, match="'shared' ran twice"):
        model(torch.zeros(1, 2))
    model(torch.zeros(1, 2))  # A plain forward still works.


def test_an_output_changed_in_place_afterwards_is_named():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.ReLU(inplace=True))
    taps = FeatureTaps(model, ['1'])
    with taps:
        model(torch.randn(4, 2))
        with pytest.raises(InputError, match="'1' was changed in place"):
            taps.pop()


def test_the_module_that_works_in_place_can_itself_be_tapped():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(inplace=True), nn.Linear(2, 1))
    taps = FeatureTaps(model, ['1'])
    with taps:
        model(torch.randn(4, 2))
        assert taps.pop()['1'].min() >= 0


def test_works_in_inference_mode():
    model = two_layers()
    taps = FeatureTaps(model, ['0'])
    with torch.inference_mode(), taps:
        model(torch.zeros(5, 4))
        assert taps.pop()['0'].shape == (5, 3)


def test_captures_nothing_outside_the_with_block():
    model = two_layers()
    taps = FeatureTaps(model, ['0'])
    model(torch.zeros(5, 4))
    model(torch.zeros(5, 4))
    with taps, pytest.raises(InputError, match='not reached'):
        taps.pop()


def test_reading_empties_the_store():
    model = two_layers()
    taps = FeatureTaps(model, ['0'])
    with taps:
        model(torch.zeros(5, 4))
        taps.pop()
        with pytest.raises(InputError, match='not reached'):
            taps.pop()


def test_every_step_starts_empty():
    model = two_layers()
    taps = FeatureTaps(model, ['0'])
    for _ in range(2):
        with taps:
            model(torch.zeros(5, 4))
    with taps:
        model(torch.ones(5, 4))
        assert torch.equal(taps.pop()['0'], model[0](torch.ones(5, 4)))


def test_no_feature_outlives_the_block_even_after_an_exception():
    model = two_layers()
    taps = FeatureTaps(model, ['0'])
    seen = []
    model[0].register_forward_hook(lambda module, args, output: seen.append(weakref.ref(output)))

    def failing_step():
        with taps:
            model(torch.zeros(5, 4))
            assert seen[0]() is not None
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        failing_step()
    gc.collect()
    assert seen[0]() is None


def test_blocks_are_not_nested():
    taps = FeatureTaps(two_layers(), ['0'])
    with taps, pytest.raises(InputError, match='nested'), taps:
        raise AssertionError('entered twice')


def test_an_index_chooses_one_of_several_tensors():
    model = PyramidModel()
    x = torch.randn(1, 2)
    taps = FeatureTaps(model, ['neck[0]', 'neck[1]', 'neck[-2]'])
    with taps:
        model(x)
        features = taps.pop()
    assert torch.equal(features['neck[0]'], x)
    assert torch.equal(features['neck[1]'], x * 2)
    assert features['neck[-2]'] is features['neck[1]']


def test_several_tensors_need_an_index():
    model = PyramidModel()
    with (
        FeatureTaps(model, ['neck']),
        pytest.raises(InputError, match=r"'neck' outputs 2 tensors; select one, e.g. 'neck\[0\]'"),
    ):
        model(torch.zeros(1, 2))


@pytest.mark.parametrize('index', [2, 3, -4])
def test_an_index_without_a_tensor_is_refused(index):
    model = PyramidModel()
    with FeatureTaps(model, [f'neck[{index}]']), pytest.raises(InputError, match='no tensor'):
        model(torch.zeros(1, 2))


@pytest.mark.parametrize('index', [0, 99, -1])
def test_an_index_into_a_module_of_one_tensor_is_refused(index):
    model = two_layers()
    with (
        FeatureTaps(model, [f'0[{index}]']),
        pytest.raises(InputError, match=r"'0' outputs one tensor, which has no index; tap '0'"),
    ):
        model(torch.zeros(1, 4))


def test_a_distillers_index_into_a_module_of_one_tensor_is_refused_at_the_build():
    taps = dict(modules=['backbone.layer1[99]'], last='backbone.layer4', logits='head')
    with pytest.raises(InputError, match=r"tap 'backbone.layer1'"):
        small_distiller('ce', taps=taps)


def test_a_wrong_path_with_an_index_is_refused():
    with pytest.raises(InputError, match="no module 'nec'; nearest: 'neck'"):
        FeatureTaps(PyramidModel(), ['nec[0]'])


def test_a_single_tensor_in_a_tuple_needs_no_index():
    class Wrapped(nn.Module):
        def forward(self, x):
            return (x, None)

    model = nn.Sequential(Wrapped())
    x = torch.zeros(1, 2)
    taps = FeatureTaps(model, ['0'])
    with taps:
        model(x)
        assert taps.pop()['0'] is x


def test_an_output_that_is_no_tensor_is_refused_by_its_type():
    class Named(nn.Module):
        def forward(self, x):
            return {'x': x}

    model = nn.Sequential(Named())
    with FeatureTaps(model, ['0']), pytest.raises(InputError, match='a dict, not a tensor'):
        model(torch.zeros(1, 2))


def test_a_copy_of_the_model_does_not_write_into_the_live_taps():
    model = two_layers()
    taps = FeatureTaps(model, ['0'])
    with taps:
        model(torch.zeros(5, 4))
        average = copy.deepcopy(model)  # An EMA made in the middle of a step.
        average(torch.ones(5, 4))
        average(torch.ones(5, 4))
        assert torch.equal(taps.pop()['0'], model[0](torch.zeros(5, 4)))


def test_a_copy_of_a_distiller_has_taps_of_its_own():
    distiller = small_distiller('ce')
    copied = copy.deepcopy(distiller)
    images = torch.randn(2, 3, 16, 16)
    with copied.taps:
        copied.student(images)
        distiller.student(images)
        features = copied.taps.pop()
    assert set(features) == set(distiller.taps.paths)
    copied.taps.remove()
    with distiller.taps:
        distiller.student(images)
        assert set(distiller.taps.pop()) == set(distiller.taps.paths)


def test_a_copy_made_inside_the_block_starts_inactive_and_empty():
    distiller = small_distiller('ce')
    with distiller.taps:
        distiller.student(torch.randn(2, 3, 16, 16))
        copied = copy.deepcopy(distiller)
    with copied.taps, pytest.raises(InputError, match='not reached'):
        copied.taps.pop()


def test_survives_pickling_with_its_model():
    model = two_layers()
    model.taps = FeatureTaps(model, ['0'])
    copied = pickle.loads(pickle.dumps(model))
    with copied.taps:
        copied(torch.zeros(5, 4))
        assert torch.equal(copied.taps.pop()['0'], copied[0](torch.zeros(5, 4)))


def test_removing_takes_the_hooks_off():
    model = two_layers()
    taps = FeatureTaps(model, ['0'])
    taps.remove()
    assert not model[0]._forward_hooks
