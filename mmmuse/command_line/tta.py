"""Test-time augmentation of the command ``test``, as in mmpretrain's and mmdet's tools."""

from copy import deepcopy

from mmengine.config import Config, ConfigDict

from mmmuse.errors import InputError

_FLIPS = [dict(type='RandomFlip', prob=1.0), dict(type='RandomFlip', prob=0.0)]
_OF_CLASSIFIERS = dict(type='mmpretrain.AverageClsScoreTTA')
_OF_DETECTORS = dict(
    type='mmdet.DetTTAModel', tta_cfg=dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=100)
)
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
    detects = config.get('default_scope') == 'mmdet'
    dataset = (config.get('test_dataloader') or {}).get('dataset') or {}
    innermost = dataset
    while 'dataset' in innermost:
        innermost = innermost['dataset']
    if not innermost.get('pipeline'):
        raise InputError(
            '--tta augments images by test_dataloader.dataset.pipeline, and the data set '
            f'{innermost.get("type")} has none'
        )
    if config.model.type == 'mmmuse.EarlyExitClassifier':
        raise InputError(
            '--tta is not for mmmuse.EarlyExitClassifier: the views of an image may take different '
            'exits; test the distiller, model.type=mmmuse.SelfDistiller'
        )
    model = deepcopy(config.get('tta_model') or (_OF_DETECTORS if detects else _OF_CLASSIFIERS))
    pipeline = config.get('tta_pipeline') or _flipped(innermost['pipeline'], detects)
    if str(config.model.type).startswith('mmmuse.'):
        model = dict(type='mmmuse.MergedExits', tta_model=model)
    config.model = ConfigDict(**model, module=config.model)
    innermost['pipeline'] = pipeline


def _flipped(pipeline: list, detects: bool) -> list:
    """Return a test pipeline whose images come as they are and mirrored."""
    last = dict(pipeline[-1])
    if detects:
        last = dict(type='PackDetInputs', meta_keys=_META_KEYS)
    return [*pipeline[:-1], dict(type='TestTimeAug', transforms=[deepcopy(_FLIPS), [last]])]
