"""The command ``mmmuse export``."""

import argparse
import re
from pathlib import Path

from mmengine.config import Config
from torch import Tensor

from mmmuse.checkpoints.mmengine_loading import refuse_code_in_files
from mmmuse.checkpoints.runner_keys import runner_keys
from mmmuse.checkpoints.save import checkpoint_bytes
from mmmuse.command_line.config import load_config
from mmmuse.command_line.explain import explained
from mmmuse.command_line.input_shape import naming_input_shape
from mmmuse.command_line.progress import shown, tracked, tracker
from mmmuse.command_line.report import check_new_path, new_folder, print_table, threads, write_json
from mmmuse.datasets.load_checked_image import check_loaded_images
from mmmuse.errors import InputError
from mmmuse.export import formats
from mmmuse.export.classifier_target import exit_target, peer_target
from mmmuse.export.complexity import check_image_shape, real_complexity
from mmmuse.export.data import first_images
from mmmuse.export.int8_accuracy import check_int8_accuracy, share_of_same_classes
from mmmuse.export.latency import latencies
from mmmuse.export.standalone import CHECKPOINT, CONFIG, write_standalone
from mmmuse.export.target import ORIGINAL, ExportTarget, Form, evaluate
from mmmuse.export.trained import trained_kind
from mmmuse.tapping.dry_run import blank_samples_added
from mmmuse.tapping.logits_kind import logits_kind

INT8 = 'ONNX int8'
UNSUPPORTED = {  # By :func:`trained_kind`.
    'classifier': ['--nms', '--argmax'],
    'detector': ['--peer', '--torch-export', '--int8', '--data ROOT', '--argmax'],
    'segmenter': ['--peer', '--nms', '--torch-export', '--data ROOT'],
}


def read_target(config: Config, args: argparse.Namespace, kind: str) -> ExportTarget:
    """Return the network to export, after checking that its kind supports the flags."""
    for flag in UNSUPPORTED[kind]:
        if getattr(args, re.sub(r'\W', '_', flag[2:]).lower()):
            raise InputError(f'{flag} is not supported for a {kind}')
    if kind == 'segmenter':
        from mmmuse.export.segmenter_target import segmenter_target

        read, name = segmenter_target, args.exit
    elif kind == 'detector':
        from mmmuse.export.detector_target import detector_target

        read, name = detector_target, args.exit
    elif args.peer is not None:
        read, name = peer_target, args.peer
    elif args.exit is not None:
        read, name = exit_target, args.exit
    else:
        raise InputError('select the network of a classifier with --exit or --peer')
    target = read(config, args.checkpoint, name, args.trust_checkpoint)
    if args.evaluate and kind == 'classifier' and logits_kind(target.original) == 'labels':
        raise InputError(
            '--data measures top-1 accuracy, which a multi-label classifier does not have; without '
            '--data the logits are compared'
        )
    target.data_root = args.data_root
    return target


def write_forms(
    folder: Path,
    target: ExportTarget,
    program: formats.Program | None,
    images: Tensor,
    calibration: list,
    args: argparse.Namespace,
) -> dict[str, Form]:
    """Write all forms that were asked for, read each file again, and add the full network."""
    shape = tuple(images.shape[1:])
    sizes = {ORIGINAL: len(checkpoint_bytes(dict(state_dict=target.original.state_dict())))}
    write_standalone(
        *(folder, target.config, target.model, target.network.state_dict()),
        runner_keys(target.config),
        title=f'{target.title} of {Path(args.config).name}: a plain network, read by {target.library}.',
        dataset_meta=target.trained.dataset_meta,
    )
    read = target.read(str(folder / CONFIG), str(folder / CHECKPOINT))
    sizes[target.library] = (folder / CHECKPOINT).stat().st_size
    forms = {
        name: Form(network, target.predict(network), sizes[name], *real_complexity(network, shape))
        for name, network in ((ORIGINAL, target.original), (target.library, read))
    }

    def add(name: str, run: formats.Function, path: Path) -> None:
        forms[name] = Form(run, target.predict(run, args.nms or args.argmax), path.stat().st_size)

    if args.torch_export:
        path = folder / 'network.pt2'
        add('torch.export', formats.save_program(program, path), path)
    if args.onnx:
        path = folder / target.onnx_file
        with shown('writing ONNX'):
            outputs, nms = program.module.outputs, program.module.nms
            run = formats.save_onnx(program, path, target.metadata(), outputs, nms)
        add('ONNX', run, path)
    if args.int8:
        path = folder / 'network_int8.onnx'
        with shown(f'calibrating int8 on {sum(map(len, calibration))} images'):
            run = formats.save_int8(folder / target.onnx_file, path, calibration)
        add(INT8, run, path)
    return forms


def export(target: ExportTarget, args: argparse.Namespace) -> None:
    """Write a folder with all forms and the report, and print the report as a table."""
    module = target.module(args.nms or args.argmax) if args.onnx or args.torch_export else None
    calibration = []
    if args.int8:
        batches = target.calibration_images(args.input_shape)
        with shown('reading images to calibrate int8'):
            calibration = list(first_images(batches, args.calibration_images))
    with shown('reading images to compare'):
        batches = target.batches_to_check(args.input_shape, args.evaluate, calibration)
    images = batches[0]['inputs']
    shape = tuple(images.shape[1:])
    check_image_shape(target.network, shape)
    program = None
    if module is not None:
        with shown('exporting with torch.export'):
            program = formats.Program(module, images)
            program.check()
    with new_folder(args.out) as folder:
        forms = write_forms(folder, target, program, images, calibration, args)
        compared = [name for name in forms if name != ORIGINAL]
        checked = {
            name: target.compare(name, forms[name], batches, exact=name != INT8)
            for name in tracked(compared, 'comparing the forms')
        }
        repeated = images[:1].expand(args.batch_size, -1, -1, -1).contiguous()
        runs = {name: form.run for name, form in forms.items()}
        with blank_samples_added(*runs.values()):
            timed = latencies(runs, repeated, target.repeats, track=tracker('timing the forms'))
        metrics = {}
        if args.evaluate:
            predict = {name: form.predict for name, form in forms.items()}
            metrics = evaluate(
                *(target.metric, predict, target.test_set(shape), target.field),
                track=tracker('evaluating the forms'),
            )
        figures = {
            name: {
                **target.scores(metrics.get(name)),
                'params': form.params,
                'macs': form.macs,
                'bytes': form.bytes,
                'milliseconds': timed[name],
                target.check_key: checked.get(name),
            }
            for name, form in forms.items()
        }
        int8 = int8_in_words(target, forms, figures, calibration, args) if args.int8 else None
        report = dict(forms=figures, batch_size=args.batch_size, image_shape=shape)
        write_json(str(folder / 'report.json'), report)
    show(target, args, shape, figures, metrics)
    if int8 is not None:
        print(int8)
    print(f'written to {args.out}: {", ".join(sorted(path.name for path in args.out.iterdir()))}')


def int8_in_words(
    target: ExportTarget,
    forms: dict[str, Form],
    figures: dict,
    calibration: list,
    args: argparse.Namespace,
) -> str:
    """Return how good the int8 form is, by its accuracy; InputError if it is not good enough."""
    if args.evaluate:
        accuracy = (figures[name][target.accuracy_key] for name in (INT8, target.library))
        found = check_int8_accuracy(*accuracy, args.max_int8_loss, target.accuracy_name)
    else:
        share = share_of_same_classes(
            lambda batch: target.logits_of(forms[INT8].run)(batch['inputs']),
            target.reference,
            calibration,
            target.class_axis,
        )
        number = sum(map(len, calibration))
        found = (
            f'the same class as in float32 for {100 * share:.1f} % of the {target.counted}{number} images '
            'of the calibration; --data measures the accuracy'
        )
    return (
        f'{INT8} is judged by its accuracy, not by its logits, which differ by '
        f'{figures[INT8][target.check_key]:.2g}: {found}'
    )


def show(
    target: ExportTarget, args: argparse.Namespace, shape: tuple, figures: dict, metrics: dict
) -> None:
    def text(value: float | None, pattern: str, scale: float = 1.0) -> str:
        return '-' if value is None else format(value / scale, pattern)

    check, check_format = target.check_column
    rows = [
        [
            name,
            *(text(metrics.get(name, {}).get(key), form) for key, form in target.columns.values()),
            text(row['params'], '.3f', 1e6),
            text(row['macs'], '.1f', 1e6),
            text(row['bytes'], '.2f', 2**20),
            text(row['milliseconds'], '.2f'),
            'see below' if name == INT8 else text(row[target.check_key], check_format),
        ]
        for name, row in figures.items()
    ]
    nms = '; times include NMS only in ONNX files with --nms' if target.library == 'mmdet' else ''
    print_table(
        f'{target.title} and the full network; batch {args.batch_size} of {shape} on the CPU, '
        f'{threads()}{nms}',
        ['form', *target.columns, 'params M', 'MACs M', 'file MiB', 'ms', check],
        rows,
    )


def main(args: argparse.Namespace) -> None:
    args.onnx = args.onnx or args.nms or args.argmax or args.int8
    args.input_shape = args.input_shape and tuple(args.input_shape)
    args.evaluate = args.data is not None
    args.data_root = args.data if isinstance(args.data, str) else None
    with explained(), naming_input_shape(args.input_shape):
        refuse_code_in_files(args.trust_checkpoint)
        check_loaded_images()
        check_new_path(args.out)
        if args.calibration_images < 1 or args.batch_size < 1:
            raise InputError('--calibration-images and --batch-size are at least 1')
        if args.torch_export:
            formats.check_programs_supported()
        if args.onnx:
            formats.import_onnx()
        config = load_config(args.config, args.cfg_options)
        with shown('building the network'):
            target = read_target(config, args, trained_kind(config))
        export(target, args)
