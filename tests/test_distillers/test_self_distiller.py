import gc
import weakref

import pytest
import torch
from mmpretrain.structures import DataSample
from torch import nn

from mmmuse.critics import GlobalLocalCritic
from mmmuse.distillers import SelfDistiller
from mmmuse.distillers.self_distiller import exit_strides
from mmmuse.errors import InputError
from mmmuse.heads.variants import VARIANTS
from mmmuse.losses.requirements import check_square
from mmmuse.registry import MODELS
from mmmuse.tapping.features import FeatureSpec

from ..conftest import TAPS, labelled, small_classifier_config, small_distiller

NECK = dict(type='mmmuse.SelfDistillNeck')
MUSE = dict(type='mmmuse.MUSELoss', critic=dict(hidden_channels=8))
MUSE_ALONE = dict(type='mmmuse.MUSEHead', ce_weight=0.0, kd_weight=0.0, discrepancy=MUSE)


def images(num_images: int = 4) -> torch.Tensor:
    return torch.randn(num_images, 3, 32, 32)


def test_one_step_runs_the_student_and_each_critic_once():
    distiller = small_distiller()
    runs = []
    for module in distiller.modules():
        if module is distiller.student.backbone or isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda module, args, output: runs.append(module))
    critic_runs = []
    for critic in distiller.modules():
        if isinstance(critic, GlobalLocalCritic):
            critic.pair_score.global_projection.register_forward_hook(
                lambda module, args, output: critic_runs.append(module)
            )
    distiller(images(), labelled([0, 1, 2, 3]), mode='loss')
    convolutions = [module for module in distiller.modules() if isinstance(module, nn.Conv2d)]
    assert len(runs) == len(set(runs)) == len(convolutions) + 1
    assert len(critic_runs) == len(set(critic_runs)) == 6


def test_losses_are_the_students_and_the_heads_by_name():
    losses = small_distiller()(images(), labelled([0, 1, 2, 3]), mode='loss')
    exits = {f'exit{i}.loss_{name}' for i in (1, 2, 3) for name in ('ce', 'kd')}
    terms = {f'{name}_loss_{i}' for i in (1, 2, 3) for name in ('mi', 'si')}
    assert set(losses) == {'loss_student', 'loss_muse', *exits, *terms}


def test_the_total_is_the_sum_of_the_losses_without_the_logged_terms():
    distiller = small_distiller()
    losses = distiller(images(), labelled([0, 1, 2, 3]), mode='loss')
    total, log = distiller.parse_losses(losses)
    logged = {f'{name}_loss_{i}' for i in (1, 2, 3) for name in ('mi', 'si')}
    expected = sum(v for name, v in losses.items() if 'loss' in name and name not in logged)
    torch.testing.assert_close(total, expected)
    assert logged < set(log)


def test_the_students_loss_is_its_own():
    distiller = small_distiller()
    x, samples = images(), labelled([0, 1, 2, 3])
    own = distiller.student(x, samples, mode='loss')['loss']
    torch.testing.assert_close(distiller(x, samples, mode='loss')['loss_student'], own)


def test_in_tensor_mode_the_distiller_is_the_student():
    distiller = small_distiller().eval()
    x = images()
    assert torch.equal(distiller(x), distiller.student(x))


@pytest.mark.parametrize('variant', ['mi_x_si', 'mi'])
def test_predictions_are_the_students(variant):
    distiller = small_distiller(variant).eval()
    x = images()
    for own, sample in zip(distiller.student(x, mode='predict'), distiller(x, mode='predict')):
        assert torch.equal(sample.pred_score, own.pred_score)
        assert torch.equal(sample.pred_label, own.pred_label)
        if variant == 'mi':
            assert 'exit_scores' not in sample


def test_exits_add_their_scores_to_the_samples():
    distiller = small_distiller().eval()
    samples = labelled([0, 1, 2, 3])
    predictions = distiller(images(), samples, mode='predict')
    for sample, label in zip(predictions, range(4)):
        assert sample.gt_label.item() == label
        assert sample.exit_scores.shape == (3, 5)
        torch.testing.assert_close(sample.exit_scores.sum(1), torch.ones(3))


@pytest.mark.parametrize('mode', ['predict', 'tensor'])
def test_other_modes_take_a_single_image(mode):
    distiller = small_distiller().eval()
    assert len(distiller(images(1), mode=mode)) == 1


def test_building_leaves_buffers_and_training_flags_as_they_are():
    student = MODELS.build(small_classifier_config())
    student.backbone.layer1[0].norm1.eval()
    for module in student.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_()
            module.num_batches_tracked.fill_(7)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    training = [module.training for module in student.modules()]
    SelfDistiller(student, TAPS, head=dict(type='mmmuse.MUSEHead', discrepancy=MUSE), neck=NECK)
    after = student.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert [module.training for module in student.modules()] == training


def test_the_student_is_left_as_it_is():
    student = MODELS.build(small_classifier_config())
    names = list(student.state_dict())
    distiller = small_distiller(student=student)
    assert distiller.student is student
    assert type(student) is type(MODELS.build(small_classifier_config()))
    assert list(student.state_dict()) == names


def test_weights_of_a_plain_student_load_into_it():
    plain = MODELS.build(small_classifier_config())
    distiller = small_distiller()
    critics = {name: value.clone() for name, value in distiller.muse.state_dict().items()}
    result = distiller.load_state_dict(plain.state_dict(), strict=False)
    assert not result.unexpected_keys
    assert not any(name.startswith('student.') for name in result.missing_keys)
    for name, value in plain.state_dict().items():
        assert torch.equal(distiller.student.state_dict()[name], value)
    for name, value in critics.items():
        assert torch.equal(distiller.muse.state_dict()[name], value)


def test_its_own_weights_load_strictly():
    first, second = small_distiller(), small_distiller()
    second.load_state_dict(first.state_dict())
    for name, value in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], value)


@pytest.mark.parametrize('variant', VARIANTS)
def test_gradient_reaches_every_parameter(variant):
    distiller = small_distiller(variant)
    optimizer = torch.optim.SGD(distiller.parameters(), lr=0.01)
    losses = distiller(images(), labelled([0, 1, 2, 3]), mode='loss')
    total, _ = distiller.parse_losses(losses)
    total.backward()
    for name, parameter in distiller.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    optimizer.step()


@pytest.mark.parametrize(
    ('variant', 'has_neck', 'num_exits'),
    [
        ('mi_x_si', True, 3),
        ('byot', True, 3),
        ('l2', True, 0),
        ('mi', False, 0),
        ('mi_x_si_alone', False, 0),
    ],
)
def test_parts_that_nothing_reads_are_not_built(variant, has_neck, num_exits):
    distiller = small_distiller(variant)
    assert (distiller.adapters is not None) is has_neck
    assert len(distiller.muse.exits) == num_exits


def test_shapes_are_inferred_from_the_taps():
    distiller = small_distiller()
    convs = [module for module in distiller.adapters.modules() if isinstance(module, nn.Conv2d)]
    assert [conv.in_channels for conv in convs[::3]] == [8, 16, 32]
    assert [conv.stride[0] for conv in convs[1::3]] == [8, 4, 2]
    assert [exit.fc.weight.shape for exit in distiller.muse.exits] == [(5, 64)] * 3


@pytest.mark.parametrize(
    ('part', 'name', 'agreeing', 'wrong'),
    [
        ('neck', 'in_channels', (8, 16, 32), [8, 16, 64]),
        ('neck', 'out_channels', 64, 512),
        ('head', 'local_channels', [8, 16, 32], [8, 16]),
        ('head', 'last_channels', 64, 32),
        ('head', 'num_classes', 5, 100),
    ],
)
def test_explicit_shapes_have_to_agree_with_the_taps(part, name, agreeing, wrong):
    parts = dict(neck=NECK, head=dict(type='mmmuse.MUSEHead'))
    small_distiller(**{**parts, part: {**parts[part], name: agreeing}})
    with pytest.raises(InputError, match=rf'{part}\.{name} is .* in the config'):
        small_distiller(**{**parts, part: {**parts[part], name: wrong}})


def test_exits_take_the_students_own_loss_unless_they_have_one():
    student = small_classifier_config()
    student['head']['loss'] = dict(type='LabelSmoothLoss', label_smooth_val=0.1, num_classes=5)
    distiller = small_distiller('ce', student=student)
    x, samples = images(), labelled([0, 1, 2, 3])
    own = type(distiller.student.head.loss_module)
    assert {type(exit.loss_module) for exit in distiller.muse.exits} == {own}
    assert own.__name__ == 'LabelSmoothLoss'
    assert distiller(x, samples, mode='loss')['exit1.loss_ce'].isfinite()
    plain = small_distiller(
        'ce',
        student=student,
        head=dict(
            type='mmmuse.MUSEHead', kd_weight=0.0, exit=dict(loss=dict(type='CrossEntropyLoss'))
        ),
    )
    assert {type(exit.loss_module).__name__ for exit in plain.muse.exits} == {'CrossEntropyLoss'}


@pytest.mark.parametrize('variant', ['mi_x_si', 'si', 'mi_plus_si_ce'])
def test_a_batch_of_one_is_refused_where_there_are_critics(variant):
    with pytest.raises(InputError, match=r'at least 2 images, got 1.*drop_last=True'):
        small_distiller(variant)(images(1), labelled([0]), mode='loss')


def test_a_batch_of_one_is_fine_without_critics():
    losses = small_distiller('byot')(images(1), labelled([0]), mode='loss')
    assert all(value.isfinite() for value in losses.values())


@pytest.mark.parametrize(
    ('taps', 'message'),
    [
        (dict(TAPS, featues=1), 'featues'),
        (dict(last='backbone.layer4'), 'taps needs modules'),
        (dict(TAPS, num_modules=3), 'not both'),
        (dict(TAPS, modules=[]), 'modules is a list of strings with at least 1 item'),
        (
            dict(TAPS, modules='backbone.layer1'),
            'modules is a list of strings with at least 1 item',
        ),
        (dict(modules=TAPS['modules']), 'taps needs last'),
        ('automatic', "'automatic'"),
        (dict(TAPS, last='backbone.layer5'), "no module 'backbone.layer5'"),
        (dict(TAPS, modules=['backbone.layer1', 'backbone.layer1']), 'tapped twice'),
        (dict(TAPS, modules=['backbone.bn']), "nearest: 'backbone"),
        (
            dict(modules=['backbone.layer4'], last='backbone.layer1'),
            'order backbone.layer1, backbone.layer4',
        ),
        (
            dict(TAPS, modules=['backbone.layer2', 'backbone.layer1']),
            'order backbone.layer1, backbone.layer2, backbone.layer4',
        ),
        (dict(modules=['backbone.layer4'], last='backbone'), 'output the same tensor'),
        (dict(TAPS, logits='backbone.layer4.0.conv1'), 'not class logits'),
        (dict(TAPS, logits='neck'), 'outputs 64 values for 5 classes'),
    ],
)
def test_taps_that_cannot_be_used_are_explained(taps, message):
    with pytest.raises(InputError, match=message):
        small_distiller(taps=taps)


@pytest.mark.parametrize('taps', ['auto', dict(), dict(num_modules=4)])
def test_taps_can_be_proposed(taps):
    distiller = small_distiller(taps=taps)
    assert distiller.taps.paths == (*TAPS['modules'], TAPS['last'], TAPS['logits'])


@pytest.mark.parametrize('numbers', [[5, 0, 0], [0, 0, 10**15]])
def test_prefix_tokens_that_leave_no_square_grid_are_refused(numbers):
    neck = dict(type='mmmuse.SelfDistillNeck', num_prefix_tokens=numbers)
    with pytest.raises(InputError, match=r'num_prefix_tokens is .* and \[0, 0, 0\] in the tapped'):
        small_distiller('ce', neck=neck)


def vit_distiller(width: int):
    arch = dict(embed_dims=16, num_layers=3, num_heads=2, feedforward_channels=16)
    return small_distiller(
        'ce',
        student=dict(
            type='mmpretrain.ImageClassifier',
            _scope_='mmpretrain',
            backbone=dict(type='VisionTransformer', arch=arch, img_size=(64, width), patch_size=8),
            head=dict(type='VisionTransformerClsHead', num_classes=5, in_channels=16),
        ),
        taps=dict(
            modules=['backbone.layers.0', 'backbone.layers.1'],
            last='backbone.layers.2',
            logits='head.layers.head',
        ),
        input_shape=(3, 64, width),
    )


@pytest.mark.parametrize('width', [64, 128, 40])
def test_tokens_have_the_grid_of_their_image(width):
    distiller = vit_distiller(width)
    assert distiller.adapters.num_prefix_tokens == (1, 1)
    assert [spec.grid for spec in distiller.tapped.specs.shallow] == [(8, width // 8)] * 2
    kept = {}
    distiller.adapters.branches[0].register_forward_hook(
        lambda _, args, __: kept.update(map=args[0])
    )
    layer = distiller.student.backbone.layers[0]
    layer.register_forward_hook(lambda _, args, output: kept.update(tokens=output))
    inputs = torch.randn(4, 3, 64, width)
    losses = distiller(inputs, labelled([0, 1, 2, 3]), mode='loss')
    assert losses['exit1.loss_ce'].isfinite()
    for row in range(8):
        for column in range(width // 8):
            token = kept['tokens'][:, 1 + row * (width // 8) + column]
            assert torch.equal(kept['map'][:, :, row, column], token)
    distiller.eval()(inputs, mode='predict')


def test_tokens_that_fit_no_grid_of_their_image_are_refused_by_exits():
    spec = FeatureSpec.of(torch.Size((2, 61, 8)), 'backbone.layers.0', (64, 128))
    with pytest.raises(
        InputError, match=r"the neck reads maps, and the 61 tokens of 'backbone\.layer"
    ):
        check_square('the neck', spec)


def test_exits_need_tapped_logits():
    with pytest.raises(InputError, match=r'taps\.logits'):
        small_distiller('ce', taps=dict(TAPS, logits=None))


def test_distilling_logits_needs_them_tapped_even_where_the_classes_are_given():
    head = dict(type='mmmuse.MUSEHead', num_classes=5)
    with pytest.raises(InputError, match=r'needs taps\.logits'):
        small_distiller(head=head, taps=dict(TAPS, logits=None))


def test_losses_between_features_need_no_logits():
    distiller = small_distiller(head=MUSE_ALONE, neck=None, taps=dict(TAPS, logits=None))
    assert 'loss_muse' in distiller(images(), labelled([0, 1, 2, 3]), mode='loss')


def test_exits_need_a_neck():
    with pytest.raises(InputError, match=r'mmmuse\.SelfDistillNeck'):
        small_distiller(neck=None)


def test_a_module_inside_another_ones_inplace_activation_is_refused_when_built():
    with pytest.raises(InputError, match=r"'backbone\.layer1\.0\.bn2' was changed in place"):
        small_distiller(taps=dict(TAPS, modules=['backbone.layer1.0.bn2']))


@pytest.mark.parametrize(
    ('grids', 'last', 'strides'),
    [
        ([(32, 32), (16, 16), (8, 8)], (4, 4), [8, 4, 2]),
        ([(8, 8), (4, 4), (2, 2)], (1, 1), [4, 2, 1]),
        ([(14, 14), (14, 14)], None, [1, 1]),
        ([None, (7, 7)], (7, 7), [1, 1]),
        ([None], None, [1]),
    ],
)
def test_strides_reach_the_last_grid_or_the_smallest_where_that_is_a_vector(grids, last, strides):
    specs = [FeatureSpec(4, grid) for grid in grids]
    assert exit_strides(specs, FeatureSpec(8, last)) == strides


def test_no_graph_outlives_the_step():
    distiller = small_distiller()
    tapped = []
    distiller.student.backbone.layer1.register_forward_hook(
        lambda module, args, output: tapped.append(weakref.ref(output))
    )
    losses = distiller(images(), labelled([0, 1, 2, 3]), mode='loss')
    assert tapped[0]() is not None  # Held by the graph of the losses.
    del losses
    gc.collect()
    assert tapped[0]() is None


def test_a_step_lowers_the_loss_on_its_own_batch():
    distiller = small_distiller()
    optimizer = torch.optim.SGD(distiller.parameters(), lr=0.02, momentum=0.9)
    x, samples = images(8), labelled([0, 1, 2, 3, 4, 0, 1, 2])
    totals = []
    for _ in range(15):
        total, _ = distiller.parse_losses(distiller(x, samples, mode='loss'))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < 0.8 * totals[0]


def test_exits_that_learn_with_labels_refuse_mixed_images():
    head = dict(type='mmmuse.MUSEHead', kd=dict(type='mmmuse.DKDLoss'))
    distiller = small_distiller(head=head)
    mixed = [DataSample().set_gt_score(torch.tensor([0.6, 0.4, 0.0, 0.0, 0.0])) for _ in range(4)]
    with pytest.raises(InputError, match='DKDLoss needs images of one class'):
        distiller(images(), mixed, mode='loss')
    assert 'exit1.loss_dkd' in distiller(images(), labelled([0, 1, 2, 3]), mode='loss')
