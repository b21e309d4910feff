"""One network of each architecture family of mmdet; the images are small."""

from dataclasses import replace

from .composition import Family


def of_resnet18(config: str, size: int = 64, **model) -> Family:
    """A detector with a ResNet-18 of 16 channels and an FPN, in place of a ResNet-50."""
    return Family(
        config,
        size,
        {
            'backbone.depth': 18,
            'backbone.stem_channels': 16,
            'backbone.base_channels': 16,
            'backbone.init_cfg': None,
            'neck.in_channels': [16, 32, 64, 128],
            **{name.replace('__', '.'): value for name, value in model.items()},
        },
    )


def with_few_proposals(family: Family) -> Family:
    """Let the second stage of a detector see ten regions of an image, not a thousand."""
    stages = ('train_cfg.rpn_proposal', 'test_cfg.rpn', 'test_cfg.rcnn')
    few = {f'{stage}.max_per_img': 10 for stage in stages}
    return replace(family, model={**family.model, **few})


NARROW_RESNET = {
    'backbone.stem_channels': 16,
    'backbone.base_channels': 16,
    'backbone.init_cfg': None,
}
FEW_LAYERS = {**NARROW_RESNET, 'encoder.num_layers': 1, 'decoder.num_layers': 2}
SHORT_DETR = {**FEW_LAYERS, 'neck.in_channels': [512]}
SHORT_DINO = {**FEW_LAYERS, 'num_queries': 40, 'neck.in_channels': [128, 256, 512]}
NARROW_MASKFORMER = {**NARROW_RESNET, 'panoptic_head.in_channels': [64, 128, 256, 512]}
NARROW_STAGES = {
    f'roi_head__bbox_head__{stage}__{name}': channels
    for stage in range(6)
    for name, channels in (('feedforward_channels', 256), ('dynamic_conv_cfg__feat_channels', 8))
}

FEW_CELLS = {'mask_head__num_grids': [6, 5, 4, 3, 2], 'test_cfg__nms_pre': 10}

NEW_PARAMETERS = 'mmdet adds parameters to it in its first step'
NO_LOSS_CLS = 'mmdet predicts with it after `model.bbox_head.loss_cls = None` only'

DETECTORS = {
    'ATSS': of_resnet18('atss/atss_r50_fpn_1x_coco'),
    'AutoAssign': of_resnet18('autoassign/autoassign_r50-caffe_fpn_1x_coco'),
    'BoxInst': replace(
        of_resnet18('boxinst/boxinst_r50_fpn_ms-90k_coco'),
        annotations=('masks', 'pairwise_masks'),
    ),
    'Cascade R-CNN': with_few_proposals(of_resnet18('cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco')),
    'CenterNet': Family(
        'centernet/centernet_r18_8xb16-crop512-140e_coco', 64, {'backbone.init_cfg': None}
    ),
    'CondInst': of_resnet18('condinst/condinst_r50_fpn_ms-poly-90k_coco_instance'),
    'Conditional DETR': Family(
        'conditional_detr/conditional-detr_r50_8xb2-50e_coco', 64, SHORT_DETR
    ),
    'ConvNeXt': with_few_proposals(
        Family(
            'convnext/mask-rcnn_convnext-t-p4-w7_fpn_amp-ms-crop-3x_coco',
            64,
            {'backbone.init_cfg': None},
        )
    ),
    'CornerNet': Family(
        'cornernet/cornernet_hourglass104_8xb6-210e-mstest_coco',
        128,
        {
            'backbone.stage_channels': [32, 32, 48, 48, 48, 64],
            'backbone.feat_channel': 32,
            'bbox_head.in_channels': 32,
        },
    ),
    'CrowdDet': with_few_proposals(
        of_resnet18('crowddet/crowddet-rcnn_r50_fpn_8xb2-30e_crowdhuman')
    ),
    'DAB-DETR': Family('dab_detr/dab-detr_r50_8xb2-50e_coco', 64, SHORT_DETR),
    'DDOD': of_resnet18('ddod/ddod_r50_fpn_1x_coco'),
    'DDQ': Family('ddq/ddq-detr-4scale_r50_8xb2-12e_coco', 128, SHORT_DINO, note=NEW_PARAMETERS),
    'Deformable DETR': Family('deformable_detr/deformable-detr_r50_16xb2-50e_coco', 64, SHORT_DINO),
    'DetectoRS': with_few_proposals(
        Family(
            'detectors/detectors_cascade-rcnn_r50_1x_coco',
            128,
            {'backbone.init_cfg': None, 'neck.rfp_backbone.pretrained': None},
        )
    ),
    'DETR': Family('detr/detr_r18_8xb2-500e_coco', 64, {**SHORT_DETR, 'neck.in_channels': [128]}),
    'DINO': Family('dino/dino-4scale_r50_8xb2-12e_coco', 128, SHORT_DINO),
    'EfficientNet': Family('efficientnet/retinanet_effb3_fpn_8xb4-crop896-1x_coco'),
    'Fast R-CNN': replace(
        of_resnet18('fast_rcnn/fast-rcnn_r50_fpn_1x_coco'), annotations=('proposals',)
    ),
    'Faster R-CNN': with_few_proposals(of_resnet18('faster_rcnn/faster-rcnn_r50_fpn_1x_coco')),
    'Faster R-CNN, C4': with_few_proposals(
        Family('faster_rcnn/faster-rcnn_r50-caffe-c4_ms-1x_coco')
    ),
    'FCOS': of_resnet18('fcos/fcos_r50-caffe_fpn_gn-head_1x_coco'),
    'FoveaBox': of_resnet18('foveabox/fovea_r50_fpn_4xb4-1x_coco'),
    'FSAF': of_resnet18('fsaf/fsaf_r50_fpn_1x_coco'),
    'GFL': of_resnet18('gfl/gfl_r50_fpn_1x_coco'),
    'Grid R-CNN': with_few_proposals(of_resnet18('grid_rcnn/grid-rcnn_r50_fpn_gn-head_1x_coco')),
    'HRNet': Family('hrnet/fcos_hrnetv2p-w18-gn-head_4xb4-1x_coco', 128),
    'HTC': with_few_proposals(of_resnet18('htc/htc-without-semantic_r50_fpn_1x_coco')),
    'Mask R-CNN': with_few_proposals(of_resnet18('mask_rcnn/mask-rcnn_r50_fpn_1x_coco')),
    'Mask Scoring R-CNN': with_few_proposals(of_resnet18('ms_rcnn/ms-rcnn_r50-caffe_fpn_1x_coco')),
    'Mask2Former': Family('mask2former/mask2former_r50_8xb2-lsj-50e_coco', 64, NARROW_MASKFORMER),
    'MaskFormer': Family('maskformer/maskformer_r50_ms-16xb1-75e_coco', 64, NARROW_MASKFORMER),
    'MobileNet V2': Family('yolo/yolov3_mobilenetv2_8xb24-320-300e_coco'),
    'NAS-FCOS': of_resnet18('nas_fcos/nas-fcos_r50-caffe_fpn_fcoshead-gn-head_4xb4-1x_coco', 128),
    'PAA': of_resnet18('paa/paa_r50_fpn_1x_coco'),
    'Panoptic FPN': with_few_proposals(of_resnet18('panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco')),
    'PointRend': with_few_proposals(of_resnet18('point_rend/point-rend_r50-caffe_fpn_ms-1x_coco')),
    'PVT': Family('pvt/retinanet_pvt-t_fpn_1x_coco', 64, {'backbone.init_cfg': None}),
    'PVT V2': Family('pvt/retinanet_pvtv2-b0_fpn_1x_coco', 64, {'backbone.init_cfg': None}),
    'QueryInst': of_resnet18(
        'queryinst/queryinst_r50_fpn_1x_coco',
        rpn_head__num_proposals=10,
        test_cfg__rcnn__max_per_img=10,
        **NARROW_STAGES,
        **{  # Untrained boxes leave the image, and mmdet pastes no mask outside of it on CPU.
            f'roi_head__bbox_head__{stage}__bbox_coder__clip_border': True for stage in range(6)
        },
    ),
    'RegNet': with_few_proposals(Family('regnet/faster-rcnn_regnetx-400MF_fpn_ms-3x_coco')),
    'RepPoints': of_resnet18('reppoints/reppoints-moment_r50_fpn_1x_coco'),
    'Res2Net': with_few_proposals(Family('res2net/faster-rcnn_res2net-101_fpn_2x_coco')),
    'ResNeSt': with_few_proposals(
        Family('resnest/faster-rcnn_s50_fpn_syncbn-backbone+head_ms-range-1x_coco')
    ),
    'ResNet V1d': replace(
        of_resnet18('retinanet/retinanet_r50_fpn_1x_coco', backbone__type='ResNetV1d'),
        note="`backbone.type='ResNetV1d'`",
    ),
    'ResNeXt': Family('gfl/gfl_x101-32x4d_fpn_ms-2x_coco', 64, {'backbone.depth': 50}),
    'RetinaNet': of_resnet18('retinanet/retinanet_r50_fpn_1x_coco'),
    'RPN': of_resnet18('rpn/rpn_r50_fpn_1x_coco'),
    'RTMDet': Family(
        'rtmdet/rtmdet_tiny_8xb32-300e_coco',
        64,
        {  # SyncBN needs a GPU.
            'backbone.init_cfg': None,
            'backbone.norm_cfg': dict(type='BN'),
            'neck.norm_cfg': dict(type='BN'),
            'bbox_head.norm_cfg': dict(type='BN'),
        },
        annotations=(),
    ),
    'SCNet': with_few_proposals(of_resnet18('scnet/scnet_r50_fpn_1x_coco')),
    'SOLO': of_resnet18('solo/solo_r50_fpn_1x_coco', 128, **FEW_CELLS),
    'SOLOv2': of_resnet18('solov2/solov2_r50_fpn_1x_coco', 128, **FEW_CELLS),
    'Sparse R-CNN': of_resnet18(
        'sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco', rpn_head__num_proposals=10, **NARROW_STAGES
    ),
    'SSD': Family('ssd/ssd300_coco', 300, note=NO_LOSS_CLS),
    'SSDLite': Family('ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco', 320, note=NO_LOSS_CLS),
    'Swin': Family(
        'swin/retinanet_swin-t-p4-w7_fpn_1x_coco',
        64,
        {
            'backbone.init_cfg': None,
            'backbone.embed_dims': 32,
            'backbone.num_heads': [1, 2, 4, 8],
            'neck.in_channels': [64, 128, 256],
        },
    ),
    'TOOD': of_resnet18('tood/tood_r50_fpn_1x_coco'),
    'VFNet': of_resnet18('vfnet/vfnet_r50_fpn_1x_coco'),
    'YOLACT': of_resnet18('yolact/yolact_r50_1xb8-55e_coco', 138),
    'YOLOF': Family(
        'yolof/yolof_r50-c5_8xb8-1x_coco', 64, {**NARROW_RESNET, 'neck.in_channels': 512}
    ),
    'YOLOv3': Family('yolo/yolov3_d53_8xb8-320-273e_coco'),
    'YOLOX': Family(
        'yolox/yolox_nano_8xb8-300e_coco', 64, {'data_preprocessor.batch_augments': None}
    ),
}

# A step and a prediction of these take long or repeat the mechanism of another one, which has both:
# the kind of detector that is above the backbone, or the backbone's kind of features.
PROPOSAL_ONLY = {
    'AutoAssign': 'FCOS',
    'BoxInst': 'CondInst',
    'Conditional DETR': 'DETR',
    'ConvNeXt': 'Mask R-CNN',
    'DAB-DETR': 'DETR',
    'DDOD': 'ATSS',
    'Deformable DETR': 'DDQ',
    'DetectoRS': 'Cascade R-CNN',
    'DINO': 'DDQ',
    'EfficientNet': 'RetinaNet',
    'FoveaBox': 'FCOS',
    'FSAF': 'RetinaNet',
    'GFL': 'ATSS',
    'Grid R-CNN': 'Faster R-CNN',
    'HRNet': 'FCOS',
    'HTC': 'Cascade R-CNN',
    'Mask Scoring R-CNN': 'Mask R-CNN',
    'Mask2Former': 'MaskFormer',
    'NAS-FCOS': 'FCOS',
    'PVT': 'PVT V2',
    'QueryInst': 'Sparse R-CNN',
    'RegNet': 'Faster R-CNN',
    'Res2Net': 'Faster R-CNN',
    'ResNeSt': 'Faster R-CNN',
    'ResNet V1d': 'RetinaNet',
    'ResNeXt': 'ATSS',
    'SCNet': 'Cascade R-CNN',
    'SOLOv2': 'SOLO',
    'SSD': 'SSDLite',
    'YOLOv3': 'MobileNet V2',
}

# Classes that others inherit from.
BASES = {
    'BaseDetector',
    'SingleStageDetector',
    'TwoStageDetector',
    'TwoStagePanopticSegmentor',
    'DetectionTransformer',
    'SemiBaseDetector',
}

REFUSED = {
    # In training its last stage has three branches, and so three times the images.
    'TridentNet': (
        with_few_proposals(Family('tridentnet/tridentnet_r50-caffe_1x_coco')),
        'a critic needs one global vector (N, C) per image, got local (2, 64, 32, 32) and global '
        '(6, 1024)',
    ),
    'DeepSORT': (
        Family('deepsort/deepsort_faster-rcnn_r50_fpn_8xb2-4e_mot17halftrain_test-mot17halfval'),
        'DeepSORT does not run on a batch of images alone, as the taps need it: _forward function '
        "(namely 'tensor' mode) is not supported now",
    ),
}

# Rows of the page, by the names of the classes that are not in the tests.
NOT_COMPOSED = {
    ('DetectoRS_ResNeXt',): ('', 'not tried: a DetectoRS_ResNet with grouped convolutions'),
    ('KnowledgeDistillationSingleStageDetector', 'LAD', 'SoftTeacher'): (
        'ld, lad, soft_teacher',
        'not tried: they have a teacher of their own, which they download',
    ),
    ('GLIP', 'GroundingDINO'): (
        'glip, grounding_dino, mm_grounding_dino',
        'not tried: they read texts, with language models of the package transformers',
    ),
    ('CLRNet',): ('clrnet', 'its preprocessor, LineDetDataProcessor, is not in mmdet'),
    ('Detectron2Wrapper',): ('misc', 'not tried: it needs the package detectron2'),
}
