"""Time and arithmetic of one training step of YOLOv5: the plain detector against its distilled variants.

Images are noise with random boxes. Steps of all variants are interleaved in one process and the median is
taken. Arithmetic is that of matrix products and convolutions, forward and backward, two operations per
multiply-add.
"""

import argparse

import torch
from mmdet.testing import demo_mm_inputs
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope

from mmmuse.checkpoints.config_file import read_config
from mmmuse.checkpoints.mmengine_loading import refuse_code_in_files
from mmmuse.command_line.device import check_device
from mmmuse.command_line.explain import explained
from mmmuse.command_line.report import check_json
from mmmuse.command_line.step_benchmark import add_step_flags, compare_steps, training_step
from mmmuse.registry import MODELS

PLAIN = 'plain detector'
MUSE = 'MI x SI, without the exit'
EXIT = 'exit only: second neck and head'
FULL = 'full MI x SI: exit and critics'
OBJECTS = 8  # In an image.


def build(name: str, config: Config) -> BaseModel:
    torch.manual_seed(0)
    student = config.model.student
    models = {
        PLAIN: student,
        MUSE: dict(
            type='mmmuse.SelfDistiller',
            student=student,
            taps=config.model.taps,
            head=config.model['head'],
        ),
        EXIT: {**config.model, 'head': None},
        FULL: config.model,
    }
    model = MODELS.build(Config(dict(model=models[name])).model)
    model.init_weights()
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_step_flags(parser, 'configs/detection/yolov5_s_coco_mi_x_si.py', batch_size=4)
    parser.add_argument('--image-size', type=int, default=320)
    args = parser.parse_args()
    with explained():
        refuse_code_in_files()
        check_device(args.device)
        check_json(args.json)
        init_default_scope('mmdet')
        MMLogger.get_instance('benchmark', log_level='ERROR')
        config = read_config(args.config)
        shapes = [(3, args.image_size, args.image_size)] * args.batch_size
        boxes = [OBJECTS] * args.batch_size
        batch = demo_mm_inputs(args.batch_size, shapes, num_items=boxes, num_classes=80)
        steps = {
            name: training_step(build(name, config), batch, lr=1e-5, args=args)
            for name in (PLAIN, MUSE, EXIT, FULL)
        }
        title = f'{args.config}, {args.image_size} px, batch {args.batch_size}'
        compare_steps(title, steps, args)


if __name__ == '__main__':
    main()
