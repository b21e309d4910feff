"""Networks of timm and transformers: their images, features and logits are those of the library."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from mmmuse.distillers import InputConversion
from mmmuse.distillers.teacher import build_teacher_network
from mmmuse.errors import InputError
from mmmuse.registry import MODELS
from mmmuse.teachers.processor_settings import processor_settings

from .networks import NUM_CLASSES, folder, timm_teacher, transformers_teacher

timm = pytest.importorskip('timm')
transformers = pytest.importorskip('transformers')
save_file = pytest.importorskip('safetensors.torch').save_file

TEACHERS = {
    'timm vit': lambda: timm_teacher('vit'),
    'timm convnext': lambda: timm_teacher('convnext'),
    'timm swin': lambda: timm_teacher('swin'),
    'transformers vit': lambda: transformers_teacher('vit'),
    'transformers swin': lambda: transformers_teacher('swin'),
    'transformers convnext': lambda: transformers_teacher('convnext'),
}


@pytest.fixture(scope='module', params=TEACHERS)
def network(request):
    return build_teacher_network(TEACHERS[request.param](), None).eval()


def images(size: int = 32) -> torch.Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def outputs(network, inputs) -> dict[str, torch.Tensor]:
    seen = {}
    for name in ('map', 'tokens', 'vector', 'logits'):
        part = getattr(network, name)
        part.register_forward_hook(lambda _, args, out, name=name: seen.update({name: out}))
    network(inputs)
    return seen


def test_the_tokens_are_the_locations_of_the_map_and_the_logits_those_of_the_library(network):
    found = outputs(network, images())
    assert found['map'].ndim == 4
    height, width = found['map'].shape[2:]
    for row in range(height):
        for column in range(width):
            token = found['tokens'][:, row * width + column]
            assert torch.equal(token, found['map'][:, :, row, column])
    with torch.no_grad():
        own = network.network(images())
    assert torch.equal(found['logits'], getattr(own, 'logits', own))
    assert found['logits'].shape == (2, NUM_CLASSES)


def test_the_classifier_reads_the_vector(network):
    linear = [part for part in network.network.modules() if isinstance(part, nn.Linear)][-1]
    assert linear.out_features == NUM_CLASSES
    found = outputs(network, images())
    torch.testing.assert_close(linear(found['vector']), found['logits'])


def test_the_last_location_of_a_map_sees_the_last_patch_of_the_image():
    """With one layer and no attention across, a patch is at its own place in the map."""
    network = build_teacher_network(timm_teacher('vit'), None)
    for block in network.network.blocks:
        nn.init.zeros_(block.attn.proj.weight)
    before = images()
    after = before.clone()
    after[:, :, 16:, :16] += 1  # The third of the four patches.
    changed = (outputs(network, before)['map'] - outputs(network, after)['map']).abs().amax((0, 1))
    assert (changed > 0).tolist() == [[False, False], [True, False]]


def test_an_image_that_is_not_square_keeps_its_rows():
    network = build_teacher_network(timm_teacher('vit', input_size=[32, 64]), None)
    assert outputs(network, torch.zeros(1, 3, 32, 64))['map'].shape == (1, 24, 2, 4)


def test_the_vector_of_timm_is_what_its_own_head_reads():
    network = build_teacher_network(timm_teacher('swin'), None)
    with torch.no_grad():
        last = network.network.forward_features(images())
    found = outputs(network, images())
    torch.testing.assert_close(found['vector'], last.mean((1, 2)))  # Channels are last in Swin.
    torch.testing.assert_close(found['map'], last.permute(0, 3, 1, 2))


def student_preprocessor() -> nn.Module:
    return MODELS.build(
        dict(type='ImgDataPreprocessor', mean=[120.0, 110.0, 100.0], std=[50.0, 60.0, 70.0])
    )


def photo(size: int) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size] / size
    layers = [rows, columns, rows * columns]
    return np.stack([(255 * layer).astype(np.uint8) for layer in layers], axis=2)


def as_the_student_sees(picture: np.ndarray) -> torch.Tensor:
    mean, std = np.array([120.0, 110.0, 100.0]), np.array([50.0, 60.0, 70.0])
    return torch.tensor((picture - mean) / std).permute(2, 0, 1)[None].float()


@pytest.mark.parametrize('size', [32, 80])
def test_images_are_those_of_the_librarys_own_transform(size):
    picture = photo(size)
    found = {}
    for name, teacher in (('timm', timm_teacher('vit')), ('hf', transformers_teacher('vit'))):
        network = build_teacher_network(teacher, None)
        conversion = InputConversion(
            student_preprocessor(), network.data_preprocessor, loaded='rgb'
        )
        found[name] = conversion(as_the_student_sees(picture))[0]
    config = timm.data.resolve_data_config(
        dict(input_size=(3, 32, 32), crop_pct=1.0),
        pretrained_cfg=timm.get_pretrained_cfg('vit_tiny_patch16_224').to_dict(),
    )
    by_timm = timm.data.create_transform(**config)(Image.fromarray(picture))
    processor = transformers.AutoImageProcessor.from_pretrained(folder('vit'), use_fast=False)
    by_processor = processor(Image.fromarray(picture), return_tensors='pt')['pixel_values'][0]
    # Pillow rounds to whole pixel values when it resizes: up to 0.01 of the deviation.
    tolerance = dict(atol=1e-5 if size == 32 else 0.04, rtol=0)
    torch.testing.assert_close(found['timm'], by_timm, **tolerance)
    torch.testing.assert_close(found['hf'], by_processor, **tolerance)


def test_the_only_processor_of_a_network_may_be_the_fast_one(tmp_path):
    transformers.DINOv3ViTImageProcessorFast(size=dict(height=48, width=64)).save_pretrained(
        tmp_path
    )
    settings = processor_settings(str(tmp_path))
    assert settings.size == (48, 64)
    assert settings.mean == pytest.approx([255 * 0.485, 255 * 0.456, 255 * 0.406], rel=1e-6)


def test_images_in_bfloat16_are_resized():
    network = build_teacher_network(timm_teacher('vit'), None)
    conversion = InputConversion(
        student_preprocessor(), network.data_preprocessor, loaded='rgb'
    ).bfloat16()
    found = conversion(torch.randn(1, 3, 48, 40, dtype=torch.bfloat16))
    assert found.dtype == torch.bfloat16
    assert found.isfinite().all()


@pytest.mark.parametrize(('loaded', 'first'), [('rgb', 0), ('bgr', 2)])
def test_the_first_channel_is_red_whatever_is_loaded(loaded, first):
    network = build_teacher_network(transformers_teacher('vit'), None)
    conversion = InputConversion(student_preprocessor(), network.data_preprocessor, loaded=loaded)
    inputs = torch.zeros(1, 3, 32, 32)
    inputs[:, first] = 1
    red, green, blue = conversion(inputs)[0].mean((1, 2)) - conversion(torch.zeros_like(inputs))[
        0
    ].mean((1, 2))
    assert red > 0.1
    assert green.abs() + blue.abs() < 1e-6


def test_a_grey_image_has_three_equal_channels():
    grey = MODELS.build(dict(type='ImgDataPreprocessor', mean=[73.0], std=[90.0]))
    network = build_teacher_network(timm_teacher('vit'), None)  # Mean and deviation 127.5.
    found = InputConversion(grey, network.data_preprocessor)(torch.full((1, 1, 32, 32), 1.0))
    torch.testing.assert_close(found, torch.full((1, 3, 32, 32), (90 + 73) / 127.5 - 1))


def test_an_order_that_cannot_be_known_is_asked_for():
    grey = MODELS.build(dict(type='ImgDataPreprocessor', mean=[127.0] * 3, std=[60.0] * 3))
    network = build_teacher_network(transformers_teacher('vit'), None)
    with pytest.raises(
        InputError, match="set image_order, the order of the loaded images, to 'rgb'"
    ):
        InputConversion(grey, network.data_preprocessor)


@pytest.mark.parametrize('kind', ['timm vit', 'transformers vit'])
def test_random_weights_are_the_same_at_each_start_and_draw_nothing(kind):
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    first = build_teacher_network(TEACHERS[kind](), None).state_dict()
    assert torch.equal(torch.rand(3), expected)
    second = build_teacher_network(TEACHERS[kind](), None).state_dict()
    assert all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize('kind', ['timm vit', 'transformers vit'])
@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_weights_come_from_a_local_file(kind, suffix, tmp_path):
    network = build_teacher_network(TEACHERS[kind](), None).network
    weights = {name: torch.full_like(value, 0.5) for name, value in network.state_dict().items()}
    path = str(tmp_path / f'weights{suffix}')
    save_file(weights, path) if suffix == '.safetensors' else torch.save(dict(model=weights), path)
    found = build_teacher_network(TEACHERS[kind](), path).network.state_dict()
    assert found.keys() == weights.keys()
    assert all(torch.equal(value, weights[name]) for name, value in found.items())


def test_the_weights_of_a_folder_are_read_and_their_classifier_is_used():
    path = folder('vit', weights=True)
    own = transformers.AutoModelForImageClassification.from_pretrained(path).eval()
    found = build_teacher_network(f'transformers::{path}', None)
    assert found.num_classes == NUM_CLASSES
    with torch.no_grad():
        torch.testing.assert_close(found(images()), own(images()).logits)


def test_without_a_classifier_the_vector_is_the_poolers():
    path = folder('vit', classifies=False, weights=True)
    found = build_teacher_network(f'transformers::{path}', None)
    own = transformers.AutoModel.from_pretrained(path).eval()
    assert found.num_classes is None
    assert found.default_taps == dict(last='map')
    with torch.no_grad():
        torch.testing.assert_close(found(images()), own(images()).pooler_output)


def test_of_a_model_of_images_and_text_the_part_for_images_teaches():
    path = folder('clip', classifies=False, weights=True)
    found = build_teacher_network(f'transformers::{path}', None)
    own = transformers.CLIPModel.from_pretrained(path).vision_model.eval()
    with torch.no_grad():
        torch.testing.assert_close(found(images()), own(images()).pooler_output)
    assert found.last_feature(images()).map.shape == (2, 16, 2, 2)


def test_tokens_of_a_part_of_the_patches_are_no_map():
    path = folder('mae', classifies=False)
    network = build_teacher_network(
        dict(name=f'transformers::{path}', pretrained=False, input_size=64), None
    )
    with pytest.raises(InputError, match=r'5 tokens are no grid of patches of an image of 64x64$'):
        network(images(64))


def test_a_transformer_of_another_size_interpolates_its_positions():
    network = build_teacher_network(transformers_teacher('vit', input_size=64), None)
    assert outputs(network, images(64))['map'].shape == (2, 16, 4, 4)


def test_it_neither_trains_nor_predicts():
    network = build_teacher_network(timm_teacher('convnext'), None)
    with pytest.raises(InputError, match=r'timm::convnext_atto is a teacher: it is not trained'):
        network(images(), [], mode='loss')


@pytest.mark.parametrize(
    ('teacher', 'message'),
    [
        ('timm::vit_tiny_patch16_225', r"timm has no network 'vit_tiny_patch16_225'; nearest: vit_tiny_"),
        (
            'timm::vit_tiny_patch16_224.augreg',
            r'nearest: vit_tiny_patch16_224\.augreg_in21k, vit_tiny_patch16_224\.augreg_in21k_ft_in1k$',
        ),
        ('tim::resnet18', r"no package 'tim' with configs is known; did you mean timm::resnet18\?"),
        ('timm::', r'timm:: is followed by the name of a network'),
        (
            dict(name='timm::vit_tiny_patch16_224', pretrained=False, input_size=40),
            r'patches of 16x16 pixels, and its input of 40x40 is not a whole number of them: set its '
            r'input_size to 32x32 or 48x48$',
        ),
        (dict(name='timm::resnet18', num_clases=5), r"unknown key 'num_clases'; did you mean 'num_classes'"),
        (dict(name='timm::resnet18', num_classes=5), r'num_classes of timm::resnet18 is that of a check'),
        (dict(name='timm::test_vit', checkpoint='none.pth'), r'^teacher_checkpoint none\.pth: no checkpoint'),
    ],
)  # fmt: skip
def test_a_network_that_cannot_be_built_is_one_clear_line(teacher, message):
    with pytest.raises(InputError, match=message) as error:
        build_teacher_network(teacher, None)
    assert '\n' not in str(error.value)


def test_a_file_of_another_network_is_refused(tmp_path):
    path = str(tmp_path / 'weights.pth')
    torch.save(dict(state_dict={'head.weight': torch.zeros(2, 2)}), path)
    with pytest.raises(InputError, match=r'^teacher_checkpoint .* does not fit timm::vit_tiny'):
        build_teacher_network(timm_teacher('vit'), path)
    with pytest.raises(InputError, match=r'the checkpoint is of another network; these tensors'):
        build_teacher_network(transformers_teacher('vit'), path)


def test_a_checkpoint_that_is_given_twice_is_refused():
    with pytest.raises(
        InputError, match=r'teacher_checkpoint is b\.pth and teacher\.checkpoint a\.pth'
    ):
        build_teacher_network(timm_teacher('vit', checkpoint='a.pth'), 'b.pth')


@pytest.mark.parametrize('library', ['timm', 'transformers'])
def test_a_library_that_is_missing_is_named_with_its_extra(library, monkeypatch):
    monkeypatch.setattr('mmmuse.teachers.library_network.find_spec', lambda name: None)
    with pytest.raises(
        InputError, match=rf'needs {library}, which is not installed: pip .*\[{library}\]'
    ):
        build_teacher_network(f'{library}::a', None)


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """Neither network nor cache."""
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_CACHE', str(tmp_path))
    monkeypatch.setattr('transformers.utils.hub._is_offline_mode', True, raising=False)


@pytest.mark.usefixtures('offline')
def test_offline_a_network_that_is_not_in_the_cache_is_named(tmp_path):
    with pytest.raises(InputError, match=r"its files are not in the hub's cache and could not be"):
        build_teacher_network('timm::vit_tiny_patch16_224.augreg_in21k_ft_in1k', None)
    (tmp_path / 'dino_small').mkdir()
    with pytest.raises(
        InputError, match=r"is neither a folder nor in the hub's .*; nearest: .*dino_small"
    ):
        build_teacher_network(f'transformers::{tmp_path}/dino_smal', None)
