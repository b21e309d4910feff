"""Make a detector, or one of its exits, stand alone: ``export_detector.py CONFIG CHECKPOINT --out DIR``.

DIR gets ``config.py`` and ``checkpoint.pth``, which mmdet trains, tests and serves by itself, and
by flag ``detector.onnx``. The whole detector and the export are measured side by side; an export
whose boxes are not those of the detector on ten test images is not kept.
"""

import argparse
import json
from pathlib import Path

import torch
from mmdet.apis import init_detector
from mmengine.config import Config
from mmengine.model import BaseModel

from mmmuse.checkpoints.files import read_checkpoint
from mmmuse.command_line.config import add_exit_flags, load_config, runner_keys
from mmmuse.command_line.explain import explained
from mmmuse.command_line.report import check_new_folder, new_folder, print_table, write_json
from mmmuse.detection import DetectionSelfDistiller
from mmmuse.errors import InputError
from mmmuse.export.complexity import Complexity, real_complexity
from mmmuse.export.detector_report import (
    TestImages,
    common_shape,
    evaluate,
    network_predictions,
    onnx_predictions,
    refuse_other_boxes,
)
from mmmuse.export.exit_detector import exit_detector, exit_detector_config
from mmmuse.export.formats import import_onnx
from mmmuse.export.latency import latencies
from mmmuse.export.onnx_detector import save_onnx_detector
from mmmuse.export.standalone import CHECKPOINT, CONFIG, write_standalone
from mmmuse.export.trained_detector import detector_config, load_trained_detector

NUM_CHECKED = 10


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', help='config of the detector, plain or distilled')
    parser.add_argument('checkpoint', help='checkpoint of its training')
    parser.add_argument(
        '--exit', type=int, help='number of the module behind which to end; the whole by default'
    )
    parser.add_argument('--out', type=Path, required=True, help='folder to make')
    parser.add_argument('--onnx', action='store_true', help='also as ONNX, boxes decoded inside')
    parser.add_argument(
        '--nms', action='store_true', help='with suppression inside the ONNX file; includes --onnx'
    )
    parser.add_argument(
        '--evaluate', action='store_true', help='measure all forms on the whole test set'
    )
    parser.add_argument('--trust-checkpoint', action='store_true', help='load more than weights')
    add_exit_flags(parser)
    return parser.parse_args()


def read_detectors(config: Config, args: argparse.Namespace) -> tuple[dict, BaseModel, BaseModel]:
    """Return the config of what is exported, the network itself, and the whole detector."""
    trained = load_trained_detector(config, args.checkpoint, args.trust_checkpoint)
    model = detector_config(config)
    if not isinstance(trained, DetectionSelfDistiller):
        if args.exit is not None:
            raise InputError(f'the config has no exits: its model is {config.model.type}')
        return model, trained, trained
    whole = len(trained.tap_paths.shallow) + 1
    number = whole if args.exit is None else args.exit
    detector = exit_detector(model, trained, number)
    detector.dataset_meta = trained.dataset_meta
    return exit_detector_config(model, trained, number), detector, trained.student


def metadata(config: Config, detector: BaseModel) -> dict[str, str]:
    """Return what a reader of the ONNX file has to know: how images are prepared."""
    preprocessor = detector.data_preprocessor
    normalises = preprocessor._enable_normalize
    meta = getattr(detector, 'dataset_meta', None) or {}
    return {
        'mean': json.dumps(preprocessor.mean.flatten().tolist() if normalises else [0.0]),
        'std': json.dumps(preprocessor.std.flatten().tolist() if normalises else [1.0]),
        'to_rgb': json.dumps(bool(preprocessor._channel_conversion)),
        'pad_value': json.dumps(preprocessor.pad_value),
        'classes': json.dumps(list(meta.get('classes', []))),
        'config': str(config.filename and Path(config.filename).name),
    }


def measure(args: argparse.Namespace, config: Config) -> None:
    model, detector, whole = read_detectors(config, args)
    # A file of one shape has to take all of the images that it is measured on.
    seen = TestImages(config, detector, None if args.evaluate else NUM_CHECKED)
    shape = tuple(args.input_shape or common_shape(seen))
    images = list(TestImages(config, detector, NUM_CHECKED, shape))
    expected = network_predictions(detector)
    cfg = getattr(detector, 'bbox_head', detector).test_cfg
    cfg = cfg.get('rcnn', cfg)  # Two stages have one each.
    title = 'The detector' if args.exit is None else f'Exit {args.exit}'
    with new_folder(args.out) as folder:
        write_standalone(
            *(folder, config, model, detector.state_dict(), runner_keys(config)),
            title=f'{title} of {Path(args.config).name}: a detector of its own, read by mmdet.',
            dataset_meta=detector.dataset_meta,
        )
        read = init_detector(str(folder / CONFIG), str(folder / CHECKPOINT), device='cpu')
        forms = {'mmdet': network_predictions(read)}
        timed = {'whole': whole, 'mmdet': read}
        sizes = {'mmdet': (folder / CHECKPOINT).stat().st_size}
        if args.onnx or args.nms:
            path = folder / 'detector.onnx'
            run = save_onnx_detector(detector, shape, path, metadata(config, detector), args.nms)
            forms['ONNX'] = onnx_predictions(run, detector.bbox_head, args.nms)
            timed['ONNX'] = run
            sizes['ONNX'] = path.stat().st_size
        compared = {
            name: refuse_other_boxes(name, predict, expected, images, cfg)
            for name, predict in forms.items()
        }
        costs = {
            name: real_complexity(net, shape) for name, net in (('whole', whole), ('mmdet', read))
        }
        milliseconds = latencies(timed, torch.zeros(1, *shape), repeats=10)
        mean_ap = {}
        if args.evaluate:
            all_forms = {'whole': network_predictions(whole), **forms}
            mean_ap = evaluate(config, all_forms, TestImages(config, detector, shape=shape))
        figures = {
            name: dict(
                metrics=mean_ap.get(name),
                params=costs.get(name, Complexity(None, None)).params,
                macs=costs.get(name, Complexity(None, None)).flops,
                bytes=sizes.get(name),
                milliseconds=milliseconds[name],
                boxes_compared=compared.get(name),
            )
            for name in timed
        }
        write_json(str(folder / 'report.json'), dict(forms=figures, image_shape=shape))
    show(args, title, shape, figures)


def show(args: argparse.Namespace, title: str, shape: tuple, figures: dict[str, dict]) -> None:
    def text(value: float | None, pattern: str, scale: float = 1.0) -> str:
        return '-' if value is None else format(value / scale, pattern)

    rows = []
    for name, row in figures.items():
        metrics = row['metrics'] or {}
        found = [metrics.get(f'coco/bbox_mAP{suffix}') for suffix in ('', '_50')]
        rows.append(
            [
                name,
                *(text(value, '.3f') for value in found),
                text(row['params'], '.3f', 1e6),
                text(row['macs'], '.2f', 1e9),
                text(row['bytes'], '.2f', 2**20),
                text(row['milliseconds'], '.1f'),
                text(row['boxes_compared'], '.0f'),
            ]
        )
    print_table(
        f'{title} beside the whole; one image of {shape} on the CPU, {torch.get_num_threads()} '
        'threads; times are without suppression outside of ONNX',
        ['form', 'mAP', 'mAP@0.5', 'params M', 'MACs G', 'file MiB', 'ms', 'same boxes'],
        rows,
    )
    print(f'written to {args.out}: {", ".join(sorted(path.name for path in args.out.iterdir()))}')


def main() -> None:
    args = parse_args()
    with explained():
        check_new_folder(args.out)
        if args.onnx or args.nms:
            import_onnx()
        config = load_config(args.config, args.cfg_options)
        read_checkpoint(args.checkpoint, args.trust_checkpoint)
        measure(args, config)


if __name__ == '__main__':
    main()
