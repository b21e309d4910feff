"""Every config in which a detector learns from a bigger one builds, and takes a step."""

from pathlib import Path

import pytest
import torch

from mmmuse.command_line.config import load_config
from mmmuse.registry import MODELS

CONFIGS = Path(__file__).resolve().parents[1] / 'configs' / 'offline_detection'
LOSSES = {
    'cwd': ['CWDLoss'],
    'pkd': ['PKDLoss'],
    'mgd': ['MGDLoss'],
    'ld': ['LDLoss'],
    'crosskd': ['CrossKDLoss'],
    'mi_x_si': ['MUSELoss'],
    'pkd_mi_x_si': ['PKDLoss', 'MUSELoss'],
}
CELLS = [
    *(('retinanet_r101-r50_coco', loss) for loss in ('cwd', 'pkd', 'mgd')),
    ('faster-rcnn_r101-r50_coco', 'pkd'),
    *(('gfl_r101-r50_coco', loss) for loss in ('ld', 'crosskd')),
    *(('yolov5_s-n_bccd', loss) for loss in ('cwd', 'pkd', 'mi_x_si', 'pkd_mi_x_si')),
]


def test_no_config_is_missing_and_none_is_left_over():
    found = {path.stem for path in CONFIGS.glob('*.py')}
    assert found == {'_'.join(cell) for cell in CELLS}


def test_the_readme_has_a_row_for_every_config():
    rows = (CONFIGS / 'README.md').read_text().splitlines()
    for cell in CELLS:
        assert len([row for row in rows if row.startswith(f'| `{"_".join(cell)}.py` |')]) == 1


@pytest.mark.slow
@pytest.mark.parametrize(('pair', 'method'), CELLS)
def test_a_config_takes_a_step_in_which_every_parameter_gets_a_gradient(pair, method, tmp_path):
    from mmdet.testing import demo_mm_inputs

    config = load_config(str(CONFIGS / f'{pair}_{method}.py'), {})
    assert [loss.type for loss in config.model.losses] == [f'mmmuse.{x}' for x in LOSSES[method]]
    assert (config.model.image_order, config.model.teacher_image_order) == ('bgr', 'bgr')
    # Smaller networks of the same kind: the teacher of R50's, without pretrained weights.
    for network in (config.model.student, config.model.teacher):
        if network.backbone.type == 'ResNet':
            network.backbone.update(depth=18, stem_channels=8, base_channels=8, init_cfg=None)
            network.neck.in_channels = [8, 16, 32, 64]
    weights = tmp_path / 'teacher.pth'
    torch.save(MODELS.build(config.model.teacher).state_dict(), weights)
    config.model.teacher_checkpoint = str(weights)
    distiller = MODELS.build({'_scope_': config.default_scope, **config.model}).train()
    classes = config.model.student.get('bbox_head', {}).get('num_classes', 80)
    data = demo_mm_inputs(2, [[3, 64, 64], [3, 60, 64]], num_classes=classes)
    losses = distiller(**distiller.data_preprocessor(data, True), mode='loss')
    assert distiller.teacher.conversion.same
    total, _ = distiller.parse_losses(losses)
    total.backward()
    missing = [
        name
        for name, value in distiller.named_parameters()
        if value.requires_grad and value.grad is None
    ]
    assert missing == []
