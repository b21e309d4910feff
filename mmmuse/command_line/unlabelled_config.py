"""Write a config with which the backbone of another one learns from images without labels."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from mmengine.config import Config

from mmmuse.checkpoints.files_in_folder import files_in_folder
from mmmuse.errors import ImageShapeError
from mmmuse.export.data import image_shape
from mmmuse.tapping.image_size import config_size
from mmmuse.tapping.loaded_order import loaded_order

from .data_paths import IMAGE_ENDINGS
from .teacher_wrapping import from_folder_of

_MEAN, _STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]  # Of ImageNet, RGB.
_SIZE = 224  # Of crops, where the config has no size or that of whole scenes.
_PART = 20  # One image in so many is held out.
_TEXT = """# The backbone of {name} learns the features of a teacher from images without labels.
_base_ = ['mmmuse::_base_/unlabelled_runtime.py']

model = dict(
    type='mmmuse.FeatureDistiller',
    student={student!r},
    teacher={teacher!r},{checkpoint}
)
data_preprocessor = dict(
    type='SelfSupDataPreprocessor', mean={mean}, std={std}, to_rgb={to_rgb}
)

load = {load}
view = [
    dict(type='RandomResizedCrop', scale={size}, crop_ratio_range=(0.2, 1.0)),
    dict(type='RandomFlip', prob=0.5),
]
images = dict(
    type='CustomDataset',
    data_root={folder!r},
    with_label=False,
    pipeline=[load, dict(type='MultiView', transforms=[view], num_views=[2]), dict(type='PackInputs')],
)
train_dataloader = dict(
    batch_size={batch_size},
    num_workers=2,
    drop_last=True,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset={train},
)
"""
_HELD_OUT = """
# One image in {part} is held out, for the loss on images that are not trained on. It needs no labels.
held_out = dict(
    images,
    pipeline=[
        load,
        dict(type='Resize', scale=({size}, {size})),
        dict(type='PackInputs'),
    ],
)
val_dataloader = dict(
    batch_size={batch_size},
    num_workers=2,
    collate_fn=dict(type='default_collate'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='KFoldDataset', dataset=held_out, num_splits={part}, seed=0, test_mode=True),
)
val_cfg = dict()
val_evaluator = dict(type='mmmuse.FeatureLossMetric')
"""


def unlabelled_config(
    name: str,
    config: Config,
    teacher: str,
    checkpoint: str | None,
    folder: str,
    out: Path,
    input_shape: Sequence[int] | None = None,
) -> str:
    """Return the text of a config of ``mmmuse.FeatureDistiller``.

    Args:
        name: Path of the student's config, or ``mmpretrain::...``; only its backbone, its
            normalisation and, of a classifier, the size of its images are used.
        config: That config, loaded.
        teacher: Path of a config, or a name.
        checkpoint: File of the teacher's weights; None if the name has some.
        folder: Of the images.
        out: Path of the new file; paths of configs are made relative to its folder.
        input_shape: ``(C, H, W)`` of the images; by default those of the config.
    """
    number = sum(file.lower().endswith(IMAGE_ENDINGS) for file in files_in_folder(folder))
    channels, size = _channels(config), _crop(config)
    if input_shape is not None:
        channels, size = input_shape[0], input_shape[-1]
    colour = '' if channels == 3 else "color_type='grayscale', "
    normalisation = _normalisation(config)
    if channels != 3:
        normalisation['to_rgb'] = False
    load = f"dict(type='mmmuse.LoadCheckedImage', {colour}unreadable='skip')"
    train, batch_size = 'images', max(2, min(128, number // 4))
    held_out = None
    if number >= 2 * _PART:
        train = f"dict(type='KFoldDataset', dataset=images, num_splits={_PART}, seed=0)"
        held_out = _HELD_OUT.format(part=_PART, size=size, batch_size=batch_size)
    given = '' if checkpoint is None else f'\n    teacher_checkpoint={checkpoint!r},'
    text = _TEXT.format(
        name=name,
        student=from_folder_of(out, name),
        teacher=from_folder_of(out, teacher),
        checkpoint=given,
        load=load,
        size=size,
        folder=folder,
        batch_size=batch_size,
        train=train,
        **normalisation,
    )
    return text if held_out is None else text + held_out


def _channels(config: Config) -> int:
    """Return the channels of a backbone's images; 3 if its config does not say."""
    return (config.model.get('backbone') or {}).get('in_channels', 3)


def _crop(config: Config) -> int:
    """Return the side of square crops: of a classifier that of its images."""
    if config.get('default_scope') in ('mmdet', 'mmseg'):
        return _SIZE
    try:
        return (config_size(config) or image_shape(config)[1:])[0]
    except ImageShapeError:
        return _SIZE


def _normalisation(config: Config) -> dict:
    """Return mean, deviation and channel order of a config's preprocessor, those of ImageNet if it has none."""
    owners: tuple[Mapping, ...] = (config.model, config)
    found = next((x['data_preprocessor'] for x in owners if x.get('data_preprocessor')), {})
    swaps = any(found.get(key) for key in ('to_rgb', 'bgr_to_rgb', 'rgb_to_bgr'))
    if not found.get('mean'):
        return dict(mean=_MEAN, std=_STD, to_rgb=True)
    # The new config loads files, which are BGR; the config's own data may be RGB already.
    to_rgb = swaps != (loaded_order(config) == 'rgb')
    return dict(mean=list(found['mean']), std=list(found['std']), to_rgb=to_rgb)
