"""Which files ``load_state_dict`` of a distiller takes, and what it says is missing."""

import pytest
import torch

from mmmuse.checkpoints.state_dicts import split_state_dict, with_plain_names

from ..conftest import small_distiller
from .transfer import offline, online


def parts_of(distiller) -> tuple[dict, dict, dict]:
    """The whole state dict, the plain student's, and the rest: a checkpoint's keys."""
    weights = distiller.state_dict()
    student, rest = split_state_dict(weights)
    return dict(weights), dict(with_plain_names(student)), dict(rest)


def different(build):
    """Two distillers of one kind whose weights differ everywhere."""
    source, target = build(), build()
    for parameter in target.parameters():
        torch.nn.init.constant_(parameter, 0.125)
    return source, target


def same(distiller, names, expected: dict) -> bool:
    own = distiller.state_dict()
    return all(torch.equal(own[name], expected[name]) for name in names)


def counted(names) -> list[str]:
    """Without the batches that norms count: PyTorch does not miss them in files without versions."""
    return sorted(name for name in names if not name.endswith('num_batches_tracked'))


KINDS = [small_distiller, offline, online]


@pytest.mark.parametrize('build', KINDS)
def test_the_distillers_part_alone_loads_and_the_student_stays(build):
    source, target = different(build)
    whole, plain, rest = parts_of(source)
    before = {name: value.clone() for name, value in target.state_dict().items()}
    result = target.load_state_dict(dict(rest), strict=False)
    assert same(target, rest, whole)
    assert result.unexpected_keys == []
    of_student = [f'student.{name}' for name in plain]
    assert counted(result.missing_keys) == counted(of_student)
    assert same(target, of_student, before)


@pytest.mark.parametrize('build', KINDS)
def test_strictly_it_says_what_is_missing(build):
    source, target = different(build)
    _, _, rest = parts_of(source)
    with pytest.raises(RuntimeError) as error:
        target.load_state_dict(dict(rest))
    message = str(error.value)
    assert 'Missing key(s)' in message
    assert '"student.backbone.conv1.weight"' in message
    assert 'Unexpected' not in message
    name = next(iter(rest))
    assert f'"{name}"' not in message


@pytest.mark.parametrize('build', KINDS)
def test_a_plain_students_file_loads_into_the_student_alone(build):
    source, target = different(build)
    whole, plain, rest = parts_of(source)
    result = target.load_state_dict(dict(plain), strict=False)
    assert same(target, [f'student.{name}' for name in plain], whole)
    assert result.unexpected_keys == []
    assert counted(result.missing_keys) == counted(rest)


@pytest.mark.parametrize('build', KINDS)
def test_both_parts_together_load_strictly(build):
    source, target = different(build)
    whole, plain, rest = parts_of(source)
    target.load_state_dict({**plain, **rest})
    assert same(target, whole, whole)


def test_the_distillers_part_of_an_earlier_version_loads():
    source, target = different(small_distiller)
    whole, _, rest = parts_of(source)
    old = {
        name.replace('adapters.branches', 'neck.bottlenecks').replace('muse.', 'head.'): value
        for name, value in rest.items()
    }
    assert any(name.startswith('neck.bottlenecks.') for name in old)
    result = target.load_state_dict(old, strict=False)
    assert same(target, rest, whole)
    assert result.unexpected_keys == []


def test_a_name_of_neither_is_said_to_be_unexpected():
    source, target = different(small_distiller)
    _, plain, rest = parts_of(source)
    result = target.load_state_dict({**rest, 'muse.more': torch.zeros(1)}, strict=False)
    assert result.unexpected_keys == ['muse.more']
    result = target.load_state_dict({**plain, 'backbone.more': torch.zeros(1)}, strict=False)
    assert result.unexpected_keys == ['student.backbone.more']


def test_inside_another_module_it_is_the_same():
    source, target = different(small_distiller)
    whole, _, rest = parts_of(source)
    wrapper = torch.nn.ModuleDict({'module': target})
    wrapper.load_state_dict({f'module.{name}': value for name, value in rest.items()}, strict=False)
    assert same(target, rest, whole)
