from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmmuse.checkpoints.network_config import packaged_config
from mmmuse.command_line.wrapping import distilled_config, propose_for_config
from mmmuse.errors import InputError
from mmmuse.tapping.image_size import add_image_shape

DIGITS = Path(__file__).resolve().parents[2] / 'configs/demo/resnet18_digits.py'


@pytest.mark.slow
@pytest.mark.parametrize(
    ('name', 'shape'),
    [
        ('mmpretrain::lenet/lenet5_mnist.py', (1, 32, 32)),
        ('mmpretrain::mobilenet_v3/mobilenet-v3-small_8xb16_cifar10.py', (3, 32, 32)),
        ('mmdet::ssd/ssd300_coco.py', (3, 300, 300)),
    ],
)
def test_a_config_is_run_on_an_image_of_its_own_size(name, shape):
    config = packaged_config(name)
    with DefaultScope.overwrite_default_scope(config.default_scope):
        assert propose_for_config(config, 3).input_shape == shape


@pytest.mark.slow
def test_a_config_without_class_logits_says_why_it_has_no_exits():
    name = 'mmpretrain::arcface/resnet50-arcface_8xb32_inshop.py'
    config = packaged_config(name)
    proposal = propose_for_config(config, 4, (3, 64, 64))
    reason = "ImageToImageRetriever does not run its head in mode='tensor'"
    text = distilled_config(name, config, proposal, 'mi_x_si_alone', Path('out.py'))
    assert text.startswith(f'# Without exits: {reason}.\n')
    assert 'logits=' not in text
    assert '    input_shape=[3, 64, 64],\n' in text
    with pytest.raises(InputError, match='exits need class logits, and there are none: Image'):
        distilled_config(name, config, proposal, 'mi_x_si', Path('out.py'))


@pytest.mark.parametrize(
    ('own', 'tested'),
    [
        ('', ['Accuracy', 'mmmuse.ExitAccuracy']),
        (
            "test_evaluator = [dict(type='Accuracy'), dict(type='ConfusionMatrix')]",
            ['Accuracy', 'ConfusionMatrix', 'mmmuse.ExitAccuracy'],
        ),
        (
            "test_evaluator = dict(type='ConfusionMatrix', _delete_=True)",
            ['ConfusionMatrix', 'mmmuse.ExitAccuracy'],
        ),
        ("test_evaluator = [dict(type='A', format_only=True)]", ['A']),
        ('test_cfg = test_dataloader = test_evaluator = None', []),
        ('val_cfg = val_dataloader = val_evaluator = None', ['Accuracy', 'mmmuse.ExitAccuracy']),
    ],
)
def test_the_metrics_of_the_test_are_kept_and_the_exits_get_theirs(tmp_path, own, tested):
    plain, out = tmp_path / 'plain.py', tmp_path / 'out.py'
    same = "val_evaluator = [dict(type='Accuracy')]\ntest_evaluator = val_evaluator"
    plain.write_text(f'_base_ = {str(DIGITS)!r}\n{same}\n{own}\n')
    config = Config.fromfile(plain)
    text = distilled_config(str(plain), config, propose_for_config(config, 4), 'mi_x_si', out)
    out.write_text(text)
    found = Config.fromfile(out)
    evaluators = found.test_evaluator or []
    evaluators = [evaluators] if isinstance(evaluators, dict) else evaluators
    assert [evaluator.type for evaluator in evaluators] == tested
    if found.val_evaluator:
        assert [each.type for each in found.val_evaluator] == ['Accuracy', 'mmmuse.ExitAccuracy']


def config_of(taps, **model) -> Config:
    loader = dict(dataset=dict(pipeline=[dict(type='Resize', scale=40)]))
    student = dict(type='ImageClassifier', data_preprocessor=dict(mean=[1.0], pad_size_divisor=32))
    model = dict(type='mmmuse.SelfDistiller', student=student, taps=taps, **model)
    return Config(dict(model=model, train_dataloader=loader))


@pytest.mark.parametrize('taps', ['auto', dict(num_modules=3)])
def test_proposed_taps_get_the_images_of_the_config(taps):
    config = config_of(taps)
    add_image_shape(config)
    assert config.model.input_shape == [1, 64, 64]


def test_a_given_shape_or_named_taps_stay_as_they_are():
    given = config_of('auto', input_shape=[3, 48, 48])
    named = config_of(dict(modules=['backbone.layer1'], last='backbone.layer2'))
    for config in (given, named):
        add_image_shape(config)
    assert given.model.input_shape == [3, 48, 48]
    assert 'input_shape' not in named.model
