"""Test-time augmentation of the command ``test``, as in mmpretrain's, mmdet's and mmseg's tools."""

from copy import deepcopy

from mmengine.config import Config, ConfigDict

from mmmuse.errors import InputError

_FLIPS = [dict(type='RandomFlip', prob=1.0), dict(type='RandomFlip', prob=0.0)]
_OF_CLASSIFIERS = dict(type='mmpretrain.AverageClsScoreTTA')
_OF_DETECTORS = dict(
    type='mmdet.DetTTAModel', tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=100)
)
_DEFAULTS = {'mmdet': _OF_DETECTORS, 'mmseg': dict(type='mmseg.SegTTAModel')}
_EARLY = {
    'mmmuse.EarlyExitClassifier': 'mmmuse.SelfDistiller',
    'mmmuse.EarlyExitSegmenter': 'mmmuse.SegmentationSelfDistiller',
}
# What mmdet's model reads of each view.
_META_KEYS = (
    *('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'flip_direction'),
)


def apply_test_time_augmentation(config: Config) -> None:
    """Let a config test with ``tta_model`` and ``tta_pipeline``; by default an image and its mirror image.

    Predictions of exits and peers are merged in the same way; see :class:`mmmuse.distillers.MergedExits`.

    Raises:
        InputError: If the test data have no pipeline, or the model takes one exit for each view.
    """
    scope = config.get('default_scope')
    dataset = (config.get('test_dataloader') or {}).get('dataset') or {}
    innermost = dataset
    while 'dataset' in innermost:
        innermost = innermost['dataset']
    if not innermost.get('pipeline'):
        raise InputError(
            '--tta augments images by test_dataloader.dataset.pipeline, and the data set '
            f'{innermost.get("type")} has none'
        )
    if config.model.type in _EARLY:
        raise InputError(
            f'--tta is not for {config.model.type}: the views of an image may take different '
            f'exits; test the distiller, model.type={_EARLY[config.model.type]}'
        )
    model = deepcopy(config.get('tta_model') or _DEFAULTS.get(scope, _OF_CLASSIFIERS))
    pipeline = config.get('tta_pipeline') or _flipped(innermost['pipeline'], scope)
    if str(config.model.type).startswith('mmmuse.'):
        model = dict(type='mmmuse.MergedExits', tta_model=model)
    config.model = ConfigDict(**model, module=config.model)
    innermost['pipeline'] = pipeline


def _flipped(pipeline: list, scope: str | None) -> list:
    """Return a test pipeline whose images come as they are and mirrored."""
    *before, last = pipeline
    after = [[dict(last)]]
    if scope == 'mmdet':
        after = [[dict(type='PackDetInputs', meta_keys=_META_KEYS)]]
    if scope == 'mmseg':  # Masks are loaded afterwards: they stay as they are.
        masks = [each for each in before if 'LoadAnnotations' in str(each.get('type'))]
        before = [each for each in before if each not in masks]
        after = [*([dict(each)] for each in masks), *after]
    return [*before, dict(type='TestTimeAug', transforms=[deepcopy(_FLIPS), *after])]
