import math
from copy import deepcopy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmpretrain.structures import DataSample
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from mmmuse.errors import InputError
from mmmuse.losses import CRDLoss
from mmmuse.tapping.features import DistillFeatures, FeatureSpec, NetworkSpecs, Step

from ..two_processes import in_two_processes

LABELS = torch.tensor([3, 0, 3, 5, 0, 0, 3, 3, 5, 3, 0, 7])
STUDENT, TEACHER = 6, 10


def specs(channels: int) -> NetworkSpecs:
    return NetworkSpecs(last=FeatureSpec(channels))


def crd(labels: Tensor | None = LABELS, teacher: int = TEACHER, **options) -> CRDLoss:
    options = dict(embed_channels=8, num_negatives=16) | options
    loss = CRDLoss(specs(STUDENT), specs(teacher), **options)
    if labels is not None:
        loss.prepare(labels)
    return loss


def batch(indices: list[int], student: Tensor | None = None, teacher: Tensor | None = None) -> Step:
    student = torch.randn(len(indices), STUDENT) if student is None else student
    teacher = torch.randn(len(indices), TEACHER) if teacher is None else teacher
    samples = [DataSample(metainfo=dict(sample_idx=index)) for index in indices]
    return Step(DistillFeatures((), student), DistillFeatures((), teacher), samples)


def embeddings(loss: CRDLoss, features: Step) -> tuple[Tensor, Tensor]:
    own = loss.embed_student(features.learner.last_vector)
    other = loss.embed_teacher(features.source.last_vector)
    return F.normalize(own, dim=1).detach(), F.normalize(other, dim=1).detach()


def test_negatives_are_of_other_classes_and_all_of_those_are_drawn_alike():
    num_negatives = 20000
    loss = crd(num_negatives=num_negatives)
    for index, drawn in enumerate(loss.draw_negatives(torch.arange(len(LABELS)))):
        others = LABELS[index] != LABELS
        counts = drawn.bincount(minlength=len(LABELS))
        assert not counts[~others].any()
        expected = num_negatives / others.sum().item()
        assert counts[others].sub(expected).abs().max() < 5 * math.sqrt(expected)


def slow_side(
    anchor: list[float], memory: list[list[float]], rows: list[int], temperature: float
) -> list[float]:
    """Exponentials of an anchor's scores with some of the rows."""
    return [math.exp(sum(a * b for a, b in zip(anchor, memory[row])) / temperature) for row in rows]


def slow_loss(sides, images: list[int], negatives: list[list[int]], temperature: float) -> float:
    """The loss of the first batch: anchors and memory of each side, unnormalised."""
    total, num_images = 0.0, len(LABELS)
    for anchors, memory in sides:
        scores = [
            slow_side(anchor, memory, [image, *others], temperature)
            for anchor, image, others in zip(anchors, images, negatives)
        ]
        flat = [score for row in scores for score in row]
        normaliser = sum(flat) / len(flat) * num_images
        for row in scores:
            noise = (len(row) - 1) / num_images
            first, *others = (score / normaliser for score in row)
            total -= math.log(first / (first + noise + 1e-7))
            total -= sum(math.log(noise / (other + noise + 1e-7)) for other in others)
    return total / len(images)


def test_the_first_batchs_loss_is_the_formula_on_the_other_networks_memory(monkeypatch):
    loss = crd(temperature=0.5, loss_weight=0.25)
    images, negatives = [2, 1, 3], [[1, 3, 1], [0, 0, 8], [2, 11, 4]]
    monkeypatch.setattr(loss, 'draw_negatives', lambda images: torch.tensor(negatives))
    features = batch(images)
    own, other = embeddings(loss, features)
    sides = [
        (own.tolist(), loss.memory_teacher.tolist()),
        (other.tolist(), loss.memory_student.tolist()),
    ]
    expected = 0.25 * slow_loss(sides, images, negatives, 0.5)
    losses = loss(features)
    assert set(losses) == {'loss_crd'}
    assert losses['loss_crd'].item() == pytest.approx(expected, rel=1e-5)


def test_the_normalisers_are_those_of_the_first_batch():
    loss = crd()
    assert loss.normaliser_student == loss.normaliser_teacher == -1
    loss(batch([0, 1, 2]))
    first = loss.normaliser_student.clone(), loss.normaliser_teacher.clone()
    assert all(value > 0 for value in first)
    assert first[0] != first[1]
    loss(batch([3, 4, 5]))
    assert (loss.normaliser_student, loss.normaliser_teacher) == first


@pytest.mark.parametrize('trained', [False, True])
def test_only_a_training_step_changes_memory_and_normalisers(trained):
    loss = crd()
    if trained:
        loss(batch([0, 1, 2]))
    before = deepcopy(loss.state_dict())
    with torch.no_grad():
        without_gradient = loss(batch([3, 4, 5]))['loss_crd']
    in_eval_mode = loss.eval()(batch([3, 4, 5]))['loss_crd']
    assert without_gradient.isfinite()
    assert in_eval_mode.isfinite()
    assert before.keys() == loss.state_dict().keys()
    for name, value in loss.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_row_moves_towards_its_image_and_the_others_stay():
    loss = crd(momentum=0.75)
    features = batch([4, 0])
    before = loss.memory_student.clone(), loss.memory_teacher.clone()
    loss(features)
    others = [i for i in range(len(LABELS)) if i not in (4, 0)]
    after = loss.memory_student, loss.memory_teacher
    for old, new, rows in zip(before, after, embeddings(loss, features)):
        assert torch.equal(old[others], new[others])
        mixed = 0.75 * old[[4, 0]] + 0.25 * rows
        torch.testing.assert_close(new[[4, 0]], mixed / mixed.norm(dim=1, keepdim=True))


def test_the_loss_falls_where_the_networks_agree_on_an_image():
    torch.manual_seed(1)
    shared = torch.randn(len(LABELS), STUDENT)
    last = {}
    for agree in (True, False):
        loss = crd(teacher=STUDENT)
        optimizer = torch.optim.SGD(loss.parameters(), lr=0.02)
        values = []
        for _ in range(150):
            student = shared if agree else torch.randn_like(shared)
            optimizer.zero_grad()
            total = loss(batch(list(range(len(LABELS))), student, shared))['loss_crd']
            total.backward()
            optimizer.step()
            values.append(total.item())
        last[agree] = sum(values[-10:]) / 10
        if agree:
            assert last[agree] < 0.7 * values[0]
    assert last[True] < 0.7 * last[False]


def test_networks_that_agree_on_an_image_cost_less_than_those_that_do_not():
    # Four images of four classes, each along an axis of its own; embeddings are the features.
    axes, losses = torch.eye(4), {}
    for name, order in (('agree', [0, 1, 2, 3]), ('differ', [1, 2, 3, 0])):
        options = dict(embed_channels=4, num_negatives=3, temperature=1.0, loss_weight=1.0)
        loss = CRDLoss(specs(4), specs(4), **options)
        loss.prepare(torch.arange(4))
        for layer in (loss.embed_student, loss.embed_teacher):
            layer.weight.data.copy_(axes)
            layer.bias.data.zero_()
        loss.memory_student.copy_(axes)
        loss.memory_teacher.copy_(axes[order])
        for normaliser in (loss.normaliser_student, loss.normaliser_teacher):
            normaliser.fill_(4.0)
        losses[name] = loss(batch([0, 1, 2, 3], axes, axes[order]))['loss_crd'].item()
    # The own row has the score 1, all others 0, whichever are drawn; K / M is 3 / 4.
    own, other = math.e / 4, 1 / 4
    one_side = -math.log(own / (own + 0.75)) - 3 * math.log(0.75 / (other + 0.75))
    assert losses['agree'] == pytest.approx(2 * one_side, rel=1e-5)
    # The own row has the score 0; those drawn have 0 or 1.
    at_least = 2 * (-math.log(other / (other + 0.75)) - 3 * math.log(0.75 / (other + 0.75)))
    assert losses['differ'] > at_least - 1e-4 > losses['agree']


def test_every_parameter_and_the_student_get_a_gradient_and_the_teacher_none():
    loss = crd()
    student = torch.randn(3, STUDENT, requires_grad=True)
    teacher = torch.randn(3, TEACHER, requires_grad=True)
    loss(batch([0, 1, 2], student, teacher))['loss_crd'].backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in loss.parameters())
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None
    assert not any(buffer.requires_grad for buffer in loss.buffers())


def test_the_gradient_is_that_of_the_memory_before_the_step(monkeypatch):
    loss = crd(temperature=0.5, momentum=0.0).double()
    monkeypatch.setattr(loss, 'draw_negatives', lambda images: torch.tensor([[1, 3], [0, 8]]))
    loss(batch([5, 6], *(torch.randn(2, size).double() for size in (STUDENT, TEACHER))))
    teacher = torch.randn(2, TEACHER).double()

    def value(student: Tensor) -> Tensor:
        return deepcopy(loss)(batch([2, 1], student, teacher))['loss_crd']

    student = torch.randn(2, STUDENT, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(value, (student,))


def test_an_image_twice_in_a_batch_ends_as_its_later_one():
    loss = crd(momentum=0.0)
    features = batch([4, 7, 4, 4])
    _, other = embeddings(loss, features)
    value = loss(features)['loss_crd']
    value.backward()
    assert value.isfinite()
    torch.testing.assert_close(loss.memory_teacher[[4, 7]], other[[3, 1]])


def test_the_state_comes_back_exactly():
    loss = crd()
    loss(batch([0, 1, 2]))
    loss(batch([2, 3, 4]))
    torch.manual_seed(9)  # Another start, and so other weights.
    again = crd()
    again.load_state_dict(loss.state_dict())
    following = batch([4, 5, 6])
    values = []
    for each in (loss, again):
        torch.manual_seed(5)
        values.append([each(following)['loss_crd'].item() for _ in range(2)])
    assert values[0] == values[1]
    assert torch.equal(loss.memory_student, again.memory_student)


def test_the_state_is_two_memories_and_what_normalises_them_beside_the_weights():
    names = {name for name in crd().state_dict() if not name.startswith('embed_')}
    assert names == {
        'memory_student',
        'memory_teacher',
        'normaliser_student',
        'normaliser_teacher',
    }


def test_the_memory_starts_the_same_in_every_process_with_rows_of_length_1():
    torch.manual_seed(1)
    one = crd()
    torch.manual_seed(2)
    other = crd()
    for name in ('memory_student', 'memory_teacher'):
        rows = one.get_buffer(name)
        assert rows.shape == (12, 8)
        assert torch.equal(rows, other.get_buffer(name))
        torch.testing.assert_close(rows.norm(dim=1), torch.ones(12))
    assert not torch.equal(one.memory_student, one.memory_teacher)


def test_a_memory_of_the_same_images_is_kept_and_one_of_others_made_anew():
    loss = crd()
    loss(batch([0, 1, 2]))
    kept = {name: value.clone() for name, value in loss.state_dict().items()}
    loss.prepare(LABELS)
    assert all(torch.equal(value, kept[name]) for name, value in loss.state_dict().items())
    loss.prepare(torch.cat([LABELS, LABELS]))
    assert loss.memory_student.shape == (24, 8)
    assert loss.normaliser_student == -1
    assert loss(batch([23]))['loss_crd'].isfinite()
    kept = loss.memory_student.clone()
    loss.prepare(torch.cat([LABELS, LABELS]).flip(0))  # As many, but others.
    assert loss.normaliser_student == -1
    assert not torch.equal(loss.memory_student, kept)


def test_the_training_set_has_to_be_seen_first():
    with pytest.raises(InputError, match=r'mmmuse train .* distiller.prepare\(labels\)'):
        crd(labels=None)(batch([0]))


@pytest.mark.parametrize('index', [-1, 12, 'a'])
def test_an_image_outside_of_the_memory_is_refused(index):
    with pytest.raises(InputError, match=f'remembers 12 images .* got {index}'):
        crd()(batch([0, index]))


def test_an_image_that_does_not_say_which_it_is_is_refused():
    features = batch([0, 1])
    features.data_samples[1] = DataSample()
    with pytest.raises(InputError, match=r'needs sample_idx, .* got None'):
        crd()(features)


def test_one_class_alone_has_no_negatives():
    with pytest.raises(InputError, match='only one class'):
        crd(labels=torch.zeros(5, dtype=torch.long))


def test_autocast_changes_nothing():
    features, values = batch([0, 1, 2]), []
    for enabled in (False, True):
        torch.manual_seed(3)
        loss = crd()
        with torch.autocast('cpu', dtype=torch.bfloat16, enabled=enabled):
            values.append(loss(features)['loss_crd'])
    assert values[1].dtype == torch.float32
    assert torch.equal(*values)


def test_half_precision_features_give_a_float32_loss():
    features = [torch.randn(3, size).bfloat16() for size in (STUDENT, TEACHER)]
    assert crd()(batch([0, 1, 2], *features))['loss_crd'].dtype == torch.float32


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (dict(temperature=0.01), 'temperature is a number above 0.012, got 0.01'),
        (dict(momentum=1.5), 'momentum is a number from 0 to 1, got 1.5'),
        (dict(momentum=-0.1), 'momentum is a number from 0 to 1, got -0.1'),
        (dict(embed_channels=0), 'embed_channels is an integer of at least 1, got 0'),
        (dict(num_negatives=0), 'num_negatives is an integer of at least 1, got 0'),
    ],
)
def test_numbers_out_of_range_are_refused(options, said):
    with pytest.raises(InputError, match=f'^CRDLoss: {said}$'):
        crd(**options)


@pytest.mark.parametrize('num_negatives', [10**7, 2**16 + 1])
def test_more_negatives_than_a_small_set_can_need_are_refused(num_negatives):
    loss = crd(num_negatives=2**16)  # With replacement: the default suits small sets.
    loss.num_negatives = num_negatives
    with pytest.raises(InputError, match=f'num_negatives={num_negatives} of the 4 training images'):
        loss.prepare(torch.tensor([0, 1, 0, 1]))


def test_a_large_set_may_have_as_many_negatives_as_images():
    loss = crd()
    loss.num_negatives = 70_000
    labels = torch.arange(70_000) % 2
    loss.prepare(labels)
    with pytest.raises(InputError, match='set it to at most 69999'):
        loss.prepare(labels[1:])


@pytest.mark.parametrize('options', [dict(num_negatives=1e3), dict(embed_channels=8.0)])
def test_numbers_that_are_not_whole_are_refused(options):
    with pytest.raises(InputError, match='is an integer of at least 1, got'):
        crd(**options)


def test_networks_without_a_last_feature_are_refused():
    with pytest.raises(InputError, match=r'set teacher_taps\.last'):
        CRDLoss(specs(3), NetworkSpecs(taps='teacher_taps'))


def test_the_defaults_are_those_of_the_public_code():
    loss = CRDLoss(specs(STUDENT), specs(TEACHER))
    assert loss.embed_student.weight.shape == (128, STUDENT)
    found = (loss.num_negatives, loss.temperature, loss.momentum, loss.loss_weight)
    assert found == (16384, 0.07, 0.5, 0.8)


IMAGES = {
    0: [[0, 1, 2], [5, 6, 2]],
    1: [[3, 1, 4], [7, 0, 5]],
}  # Some are in both, 8 to 11 in none.


def first_batch(rank: int) -> Step:
    torch.manual_seed(10 + rank)
    return batch(IMAGES[rank][0])


def train_in_a_group(rank: int, folder: str) -> None:
    """One of two processes."""
    torch.save(train_two_steps(rank), f'{folder}/{rank}.pt')


def train_two_steps(rank: int) -> dict[str, Tensor]:
    torch.manual_seed(0)
    loss = DistributedDataParallel(crd(), broadcast_buffers=False)
    optimizer = torch.optim.SGD(loss.parameters(), lr=0.05)
    for step, images in enumerate(IMAGES[rank]):
        features = batch(images) if step else first_batch(rank)
        optimizer.zero_grad()
        loss(features)['loss_crd'].backward()
        optimizer.step()
    return loss.module.state_dict()


@pytest.mark.slow
def test_two_processes_end_with_the_same_memory(tmp_path: Path):
    in_two_processes(train_in_a_group, tmp_path)
    first, second = (torch.load(tmp_path / f'{rank}.pt') for rank in (0, 1))
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    start = crd().memory_student
    changed = (first['memory_student'] != start).any(1)
    assert changed.tolist() == [True] * 8 + [False] * 4  # What either has seen.
    # The normaliser is the mean of what each process has found by itself.
    alone = []
    for rank in (0, 1):
        torch.manual_seed(0)
        loss = crd()
        loss(first_batch(rank))
        alone.append(loss.normaliser_teacher)
    torch.testing.assert_close(first['normaliser_teacher'], torch.stack(alone).mean())
