"""Make an exit, or a peer, a network of its own: ``export.py CONFIG CHECKPOINT --exit 3 --out DIR``.

DIR gets ``config.py`` and ``checkpoint.pth``, which mmpretrain trains, tests and serves by itself, and
by flag ``network.onnx``, ``network.pt2`` and ``network_int8.onnx``. Original and export are measured
side by side; an export whose logits are not those of the exit is not kept.
"""

import argparse
import json
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmpretrain import get_model
from torch import Tensor

from mmmuse.checkpoints.files import read_checkpoint
from mmmuse.command_line.config import add_exit_flags, load_config, runner_keys
from mmmuse.command_line.explain import explained
from mmmuse.command_line.report import (
    check_new_folder,
    new_folder,
    print_table,
    write_json,
)
from mmmuse.errors import InputError
from mmmuse.export import formats
from mmmuse.export.complexity import real_complexity
from mmmuse.export.data import first_images, image_shape, normalised_batches
from mmmuse.export.latency import latencies
from mmmuse.export.report import Form, accuracies, largest_difference, refuse_other_outputs
from mmmuse.export.standalone import CHECKPOINT, CONFIG, write_standalone
from mmmuse.export.subject import Subject, described, exit_subject, peer_subject

NUM_CHECKED = 8


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', help='config of the distilled network')
    parser.add_argument('checkpoint', help='checkpoint of its training')
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument('--exit', type=int, help='which exit, 1 to T; T is the whole network')
    which.add_argument('--peer', help='which of the networks that were trained together')
    parser.add_argument('--out', type=Path, required=True, help='folder to make')
    parser.add_argument('--onnx', action='store_true', help='also as ONNX, checked in onnxruntime')
    parser.add_argument(
        '--torch-export', action='store_true', help='also as a torch.export program'
    )
    parser.add_argument(
        '--int8',
        action='store_true',
        help='also as int8 ONNX, calibrated on training images; includes --onnx',
    )
    parser.add_argument(
        '--calibration-images', type=int, default=512, help='images for --int8 (default 512)'
    )
    parser.add_argument(
        '--data',
        nargs='?',
        const=True,
        metavar='ROOT',
        help='measure accuracy on the test set, that of the config or the one in ROOT',
    )
    parser.add_argument(
        '--batch-size', type=int, default=1, help='images per call in the latency (default 1)'
    )
    parser.add_argument('--trust-checkpoint', action='store_true', help='load more than weights')
    add_exit_flags(parser)
    return parser.parse_args()


def calibration_images(config: Config, subject: Subject, args: argparse.Namespace) -> list:
    """Return batches of training images."""
    root = args.data if isinstance(args.data, str) else None
    batches = normalised_batches(config, 'train', subject.trained, root)
    return list(first_images(batches, args.calibration_images))


def write_forms(
    folder: Path,
    config: Config,
    subject: Subject,
    images: Tensor,
    calibration: list,
    args: argparse.Namespace,
) -> dict[str, Form]:
    """Write every form that is asked for and read it again."""
    network = subject.network
    write_standalone(
        *(folder, config, subject.model, network.state_dict(), runner_keys(config)),
        title=described(subject, args.config),
        dataset_meta=subject.dataset_meta,
    )
    read = get_model(str(folder / CONFIG), pretrained=str(folder / CHECKPOINT)).eval()
    size = (folder / CHECKPOINT).stat().st_size
    forms = {'mmpretrain': Form(read, size, *real_complexity(read, images.shape[1:]))}
    if args.onnx or args.int8 or args.torch_export:
        program = formats.to_program(network, images)
    if args.torch_export:
        path = folder / 'network.pt2'
        forms['torch.export'] = Form(formats.save_program(program, path), path.stat().st_size)
    if args.onnx or args.int8:
        path = folder / 'network.onnx'
        run = formats.save_onnx(program, path, metadata(config, subject.trained))
        forms['ONNX'] = Form(run, path.stat().st_size)
    if args.int8:
        path = folder / 'network_int8.onnx'
        run = formats.save_int8(folder / 'network.onnx', path, calibration)
        forms['ONNX int8'] = Form(run, path.stat().st_size, exact=False)
    return forms


def metadata(config: Config, trained: BaseModel) -> dict[str, str]:
    """Return what a reader of the ONNX file has to know: its images are normalised."""
    preprocessor = trained.data_preprocessor
    normalises = getattr(preprocessor, '_enable_normalize', False)
    return {
        'mean': json.dumps(preprocessor.mean.flatten().tolist() if normalises else [0.0]),
        'std': json.dumps(preprocessor.std.flatten().tolist() if normalises else [1.0]),
        'to_rgb': json.dumps(bool(getattr(preprocessor, 'to_rgb', False))),
        'config': str(config.filename and Path(config.filename).name),
    }


def measure(args: argparse.Namespace, config: Config, subject: Subject) -> None:
    shape = tuple(args.input_shape or image_shape(config))
    root = args.data if isinstance(args.data, str) else None
    images = torch.randn(NUM_CHECKED, *shape, generator=torch.Generator().manual_seed(0))
    calibration = calibration_images(config, subject, args) if args.int8 else []
    if args.data:
        images = next(normalised_batches(config, 'test', subject.trained, root))[0]
    elif calibration:
        images = calibration[0]
    images = images[
        :NUM_CHECKED
    ].clone()  # A view would take the whole batch into the program's file.
    logits, original = subject.logits(images), subject.original
    with new_folder(args.out) as folder:
        torch.save(dict(state_dict=original.state_dict()), folder / 'original.pth')
        size = (folder / 'original.pth').stat().st_size
        (folder / 'original.pth').unlink()
        forms = write_forms(folder, config, subject, images, calibration, args)
        differences = {}
        for name, form in forms.items():
            differences[name] = largest_difference(form.run, images, logits)
            if form.exact:
                refuse_other_outputs(name, differences[name])
        forms = {'original': Form(original, size, *real_complexity(original, shape)), **forms}
        functions = {name: form.run for name, form in forms.items()}
        timed = latencies(functions, images[:1].expand(args.batch_size, -1, -1, -1).contiguous())
        top1 = {}
        if args.data:
            top1 = accuracies(functions, normalised_batches(config, 'test', subject.trained, root))
        figures = {
            name: dict(
                top1=top1.get(name),
                params=form.params,
                macs=form.macs,
                bytes=form.bytes,
                milliseconds=timed[name],
                difference=differences.get(name),
            )
            for name, form in forms.items()
        }
        write_json(str(folder / 'report.json'), dict(forms=figures, batch_size=args.batch_size))
    show(args, subject.title, figures)


def show(args: argparse.Namespace, title: str, figures: dict[str, dict]) -> None:
    def text(value: float | None, pattern: str, scale: float = 1.0) -> str:
        return '-' if value is None else format(value / scale, pattern)

    rows = [
        [
            name,
            text(row['top1'], '.2f'),
            text(row['params'], '.3f', 1e6),
            text(row['macs'], '.1f', 1e6),
            text(row['bytes'], '.2f', 2**20),
            text(row['milliseconds'], '.2f'),
            text(row['difference'], '.1e'),
        ]
        for name, row in figures.items()
    ]
    print_table(
        f'{title} beside the whole network; batch {args.batch_size} on the CPU, '
        f'{torch.get_num_threads()} threads',
        ['form', 'top-1 %', 'params M', 'MACs M', 'file MiB', 'ms', 'logits differ by'],
        rows,
    )
    print(f'written to {args.out}: {", ".join(sorted(path.name for path in args.out.iterdir()))}')


def read_subject(config: Config, args: argparse.Namespace) -> Subject:
    if args.peer is not None:
        return peer_subject(config, args.checkpoint, args.peer, args.trust_checkpoint)
    return exit_subject(config, args.checkpoint, args.exit, args.trust_checkpoint)


def main() -> None:
    args = parse_args()
    with explained():
        check_new_folder(args.out)
        if args.calibration_images < 1 or args.batch_size < 1:
            raise InputError('--calibration-images and --batch-size are at least 1')
        if args.onnx or args.int8:
            formats.import_onnx()
        config = load_config(args.config, args.cfg_options)
        read_checkpoint(args.checkpoint, args.trust_checkpoint)
        measure(args, config, read_subject(config, args))


if __name__ == '__main__':
    main()
