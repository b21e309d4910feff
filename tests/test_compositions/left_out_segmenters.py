"""What mmseg has beside the segmenters of the table: networks that are refused, and parts that are not tried."""

from .segmenters import NARROW_RESNET, WIDTHS, Segmenter

_ALONE = 'does not run on a batch of images alone, as the taps need it: '
_NEEDS_SAMPLES = "missing 1 required positional argument: 'batch_data_samples'"
# Classes that others inherit from, or that wrap another model for its predictions.
BASES = {'BaseSegmentor', 'SegTTAModel'}

REFUSED = {
    # mmseg cannot run it without labels or predictions: "TODO support PointRend tensor mode".
    'PointRend, a segmenter': (
        Segmenter(
            'point_rend/pointrend_r50_4xb2-80k_cityscapes-512x1024',
            64,
            {**NARROW_RESNET, 'neck.in_channels': WIDTHS},
        ),
        f'CascadeEncoderDecoder {_ALONE}expected Tensor as element 0 in argument 0, but got tuple',
    ),
    'MaskFormer, a segmenter': (
        Segmenter(
            'maskformer/maskformer_r50-d32_8xb2-160k_ade20k-512x512',
            64,
            {**NARROW_RESNET, 'decode_head.in_channels': WIDTHS},
        ),
        f'EncoderDecoder {_ALONE}MaskFormerHead.forward() {_NEEDS_SAMPLES}',
    ),
    'Mask2Former, a segmenter': (
        Segmenter(
            'mask2former/mask2former_r50_8xb2-90k_cityscapes-512x1024',
            64,
            {**NARROW_RESNET, 'decode_head.in_channels': WIDTHS},
        ),
        f'EncoderDecoder {_ALONE}Mask2FormerHead.forward() {_NEEDS_SAMPLES}',
    ),
}

# Rows of the page, by the names of the classes that are not in the tests.
NOT_COMPOSED = {
    ('PSAHead',): ('psanet', "its op, PSAMask, is only among mmcv's compiled ops"),
    ('MultimodalEncoderDecoder', 'SideAdapterCLIPHead'): (
        'san',
        'not tried: its classes are texts, whose encoder it downloads',
    ),
    ('VPD', 'VPDDepthHead', 'DepthEstimator'): (
        'vpd',
        'not tried: they predict depth, with a diffusion model of another package',
    ),
    ('SETRMLAHead',): ('', 'not tried: a SETRUPHead that adds its levels'),
    ('ResNetV1d', 'ResNeXt'): (
        '',
        'not tried: a ResNetV1c with another stem or grouped convolutions',
    ),
}
