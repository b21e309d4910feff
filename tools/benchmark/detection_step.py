"""Time and arithmetic of one training step of YOLOv5: the plain detector against its distilled variants.

Steps of all variants are interleaved in one process and the median is taken. Arithmetic is what
matrix products and convolutions do, forward and backward, two operations per multiply-add.
"""

import argparse
from collections.abc import Callable

import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmmuse.command_line.explain import explained
from mmmuse.command_line.report import check_json, hardware, print_table, write_json
from mmmuse.export.latency import interleaved_seconds
from mmmuse.optim import BFloat16OptimWrapper
from mmmuse.registry import MODELS

PLAIN = 'plain detector'
MUSE = 'MI x SI, without the exit'
EXIT = 'exit alone: second neck and head'
WHOLE = 'whole MI x SI: exit and critics'
OBJECTS = 8  # In an image.


def build(name: str, config: Config, args: argparse.Namespace) -> nn.Module:
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
        WHOLE: config.model,
    }
    model = MODELS.build(Config(dict(model=models[name])).model)
    model.init_weights()
    model = model.to(args.device).train()
    return model.to(memory_format=torch.channels_last) if args.channels_last else model


def synthetic_batch(args: argparse.Namespace) -> dict:
    """Return images of noise with boxes of 10 pixels to half the image."""
    generator = torch.Generator().manual_seed(0)
    size = args.image_size
    samples = []
    for _ in range(args.batch_size):
        corner = torch.rand(OBJECTS, 2, generator=generator) * size / 2
        sides = 10 + torch.rand(OBJECTS, 2, generator=generator) * (size / 2 - 10)
        labels = torch.randint(0, 80, (OBJECTS,), generator=generator)
        sample = DetDataSample(
            metainfo=dict(img_shape=(size, size), batch_input_shape=(size, size))
        )
        sample.gt_instances = InstanceData(
            bboxes=torch.cat([corner, corner + sides], 1), labels=labels
        )
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=labels[:0])
        samples.append(sample)
    shape = (3, size, size)
    images = [torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8) for _ in samples]
    return dict(inputs=images, data_samples=samples)


def stepper(name: str, config: Config, args: argparse.Namespace) -> Callable[[], None]:
    model = build(name, config, args)
    wrapper = BFloat16OptimWrapper if args.amp else OptimWrapper
    wrapper = wrapper(torch.optim.SGD(model.parameters(), lr=1e-5, momentum=0.9))
    batch = synthetic_batch(args)

    def step() -> None:
        model.train_step(batch, wrapper)
        if args.device.startswith('cuda'):
            torch.cuda.synchronize()

    return step


def measure_flops(step: Callable[[], None]) -> int:
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--config', default='configs/detection/yolov5_s_coco_mi_x_si.py')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--batch-size', type=int, default=4)
    parser.add_argument('--image-size', type=int, default=320)
    parser.add_argument('--steps', type=int, default=10)
    parser.add_argument('--warmup', type=int, default=2)
    parser.add_argument('--amp', action='store_true', help='bfloat16')
    parser.add_argument('--channels-last', action='store_true')
    parser.add_argument('--json', help='file for the figures')
    args = parser.parse_args()
    with explained():
        check_json(args.json)
        init_default_scope('mmdet')
        MMLogger.get_instance('benchmark', log_level='ERROR')
        config = Config.fromfile(args.config)
        steps = {name: stepper(name, config, args) for name in (PLAIN, MUSE, EXIT, WHOLE)}
        flops = {name: measure_flops(step) for name, step in steps.items()}
        seconds = interleaved_seconds(steps, args.steps, args.warmup)
        print_table(
            f'{args.config}, {args.image_size} px, batch {args.batch_size}, median of {args.steps} '
            f'interleaved steps; {hardware(args.device)}',
            ['variant', 'ms / step', 'x plain', 'GFLOP', 'x plain'],
            [
                [
                    name,
                    f'{seconds[name] * 1e3:.1f}',
                    f'{seconds[name] / seconds[PLAIN]:.2f}',
                    f'{flops[name] / 1e9:.1f}',
                    f'{flops[name] / flops[PLAIN]:.2f}',
                ]
                for name in steps
            ],
        )
        write_json(args.json, dict(seconds=seconds, flops=flops), args.device)


if __name__ == '__main__':
    main()
