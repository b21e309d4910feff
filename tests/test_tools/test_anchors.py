"""The check of anchors by its command line, on annotation files without images."""

import json

import pytest
from mmengine.config import Config

from mmmuse.analysis.anchors import fit_of_levels
from mmmuse.analysis.training_boxes import read_boxes

from .conftest import ROOT

TOOL = 'analysis/anchors.py'
BCCD = ROOT / 'data' / 'bccd' / 'instances_train.json'
USUAL = [
    [(10, 13), (16, 30), (33, 23)],
    [(30, 61), (62, 45), (59, 119)],
    [(116, 90), (156, 198), (373, 326)],
]


def write_annotations(path, sides, **more):
    path.write_text(
        json.dumps(
            dict(
                images=[dict(id=1, file_name='1.png', width=640, height=480)],
                categories=[dict(id=1, name='cell')],
                annotations=[
                    dict(id=i, image_id=1, category_id=1, bbox=[0, 0, *size], area=9, **more)
                    for i, size in enumerate(sides)
                ],
            )
        )
    )
    return path


def write_config(folder, generator=None, dataset=None, student=False):
    generator = generator or dict(
        type='mmdet.YOLOAnchorGenerator', base_sizes=USUAL, strides=[8, 16, 32]
    )
    model = dict(type='mmdet.SingleStageDetector', bbox_head=dict(prior_generator=generator))
    if student:
        model = dict(type='mmmuse.OfflineDistiller', student=model)
    dataset = dataset or dict(type='CocoDataset', data_root=str(folder), ann_file='boxes.json')
    path = folder / 'config.py'
    loader = dict(sampler=dict(type='DefaultSampler'), dataset=dataset)
    path.write_text(f'model = {model!r}\ntrain_dataloader = {loader!r}\n')
    return path


@pytest.fixture
def config(tmp_path):
    """A config, and beside it boxes of 30 sizes; the pipeline resizes to 320."""
    write_annotations(tmp_path / 'boxes.json', [(40 + 3 * i, 60 + 2 * i) for i in range(30)])
    pipeline = [dict(type='mmdet.Resize', scale=(320, 320), keep_ratio=True)]
    coco = dict(type='CocoDataset', data_root=str(tmp_path), ann_file='boxes.json')
    return write_config(
        tmp_path, dataset=dict(type='RepeatDataset', dataset=dict(**coco, pipeline=pipeline))
    )


def test_better_anchors_are_proposed_in_the_form_that_a_config_takes(
    config, tool, tmp_path, lines_of_progress
):
    out = tmp_path / 'anchors.json'
    flags = ['--generations', 200, '--seed', 5, '--json', out]
    finished = tool(TOOL, config, *flags)
    assert finished.code == 0, finished.err
    assert 'refining the anchors: ' in finished.err
    assert 'the anchors: ' not in finished.out
    assert 'Images of 320 px (from the training pipeline), threshold 4' in finished.out
    figures = json.loads(out.read_text())
    assert figures['boxes'] == 30
    assert (figures['img_size'], figures['seed'], figures['small_boxes']) == (320, 5, 0)
    present, proposed = figures['anchors']['present'], figures['anchors']['proposed']
    assert proposed['fitness'] > present['fitness']
    sizes = read_boxes({str(tmp_path / 'boxes.json'): None}, 320).sizes
    assert present == dict(
        base_sizes=[[list(size) for size in level] for level in USUAL],
        **fit_of_levels(sizes, USUAL)._asdict(),
    )
    line = next(line for line in finished.out.splitlines() if line.startswith('prior_generator='))
    generator = Config.fromstring(line, '.py').prior_generator
    assert generator.type == 'mmdet.YOLOAnchorGenerator'
    assert generator.strides == [8, 16, 32]
    assert [list(map(list, level)) for level in generator.base_sizes] == proposed['base_sizes']
    assert {type(side) for level in proposed['base_sizes'] for size in level for side in size} == {
        int
    }
    assert tool(TOOL, config, *flags).out == finished.out


def test_anchors_that_fit_are_kept(tool, tmp_path):
    write_annotations(tmp_path / 'boxes.json', [size for level in USUAL for size in level] * 3)
    finished = tool(TOOL, write_config(tmp_path, student=True), '--generations', 5)
    assert finished.code == 0, finished.err
    assert 'Images of 640 px (from the default)' in finished.out
    said = 'the present anchors are kept: no 9 anchors were found with a fitness above 1.0000'
    assert said in ' '.join(finished.out.split())
    assert 'prior_generator' not in finished.out


def test_the_number_of_anchors_the_size_and_the_file_can_be_told(config, tool, tmp_path):
    other = write_annotations(tmp_path / 'other.json', [(2 + i, 2 + i) for i in range(20)])
    flags = ['--ann-file', other, '--img-size', 640, '--num-anchors', 12, '--generations', 5]
    finished = tool(TOOL, config, *flags)
    assert finished.code == 0, finished.err
    assert f'{other}: 20 boxes, 1 with a side below 3 px' in finished.out
    line = next(line for line in finished.out.splitlines() if line.startswith('prior_generator='))
    levels = Config.fromstring(line, '.py').prior_generator.base_sizes
    assert [len(level) for level in levels] == [4, 4, 4]


def test_what_is_left_out_is_said(config, tool, tmp_path):
    content = json.loads((tmp_path / 'boxes.json').read_text())
    content['annotations'][0]['iscrowd'] = 1
    content['annotations'][1]['bbox'] = [0, 0, 0, 10]
    (tmp_path / 'boxes.json').write_text(json.dumps(content))
    finished = tool(TOOL, config, '--generations', 0)
    assert '28 boxes, 0 with a side below 3 px; left out 1 crowd, 1 degenerate' in finished.out


def test_a_real_data_set_is_read(tool, tmp_path):
    if not BCCD.is_file():
        pytest.skip('data/bccd is not here')
    path = write_config(tmp_path)
    finished = tool(TOOL, path, '--ann-file', BCCD, '--generations', 20)
    assert finished.code == 0, finished.err
    assert '2804 boxes' in finished.out
    assert 'prior_generator=dict(' in finished.out


@pytest.mark.parametrize(
    ('flags', 'said'),
    [
        (['--ann-file', 'none.json'], '--ann-file none.json: no annotation file none.json'),
        (['--img-size', 0], '--img-size is at least 1, got 0'),
        (['--threshold', 1], '--threshold is a factor above 1, got 1.0'),
        (['--generations', -1], '--generations is at least 0, got -1'),
        (['--seed', -1], '--seed is between 0 and'),
        (['--num-anchors', 0], '--num-anchors is a multiple of the 3 levels, got 0'),
        (['--num-anchors', 10], '--num-anchors is a multiple of the 3 levels, got 10'),
        (['--num-anchors', 33], '30 boxes of 30 different sizes are fewer than the 33 anchors'),
        (['--json', 'nowhere/a.json'], 'no folder nowhere to write --json into'),
    ],
)
def test_a_bad_flag_is_one_line(flags, said, config, tool, only_error):
    assert said in only_error(tool(TOOL, config, *flags))


def test_bad_files_and_heads_are_one_line(tool, only_error, tmp_path):
    path = write_config(tmp_path)
    said = only_error(tool(TOOL, path))
    assert f'annotation file not found: {tmp_path / "boxes.json"}' in said
    write_annotations(tmp_path / 'boxes.json', [])
    assert 'no boxes in' in only_error(tool(TOOL, path))
    write_annotations(tmp_path / 'boxes.json', [(9, 9)], iscrowd=1)
    assert 'left out: 1 crowd' in only_error(tool(TOOL, path))
    (tmp_path / 'boxes.json').write_text('{')
    assert 'is not a valid COCO annotation file' in only_error(tool(TOOL, path))
    path = write_config(tmp_path, dataset=dict(type='mmmuse.Digits'))
    assert 'has no annotation file; pass --ann-file' in only_error(tool(TOOL, path))
    path = write_config(tmp_path, generator=dict(type='mmdet.MlvlPointGenerator', strides=[8]))
    assert 'its head has no anchors to fit' in only_error(tool(TOOL, path))


def test_configs_of_mmdet_are_read(tool, only_error, tmp_path):
    write_annotations(tmp_path / 'boxes.json', [(40 + 3 * i, 60 + 2 * i) for i in range(30)])
    path = tmp_path / 'config.py'
    flags = ['--ann-file', tmp_path / 'boxes.json', '--generations', 0]
    path.write_text("_base_ = 'mmdet::yolo/yolov3_d53_8xb8-320-273e_coco.py'\n")
    finished = tool(TOOL, path, *flags)
    assert finished.code == 0, finished.err
    assert 'Images of 320 px (from the training pipeline)' in finished.out
    assert 'anchor_generator=dict(' in finished.out
    assert 'strides=[32, 16, 8])' in finished.out
    path.write_text("_base_ = 'mmdet::yolox/yolox_tiny_8xb8-300e_coco.py'\n")
    assert 'its head has no anchors to fit' in only_error(tool(TOOL, path, *flags))
