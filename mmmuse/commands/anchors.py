"""The command ``mmmuse anchors``."""

import argparse

from mmengine.config import Config
from mmengine.logging import MMLogger

from mmmuse.analysis.anchors import (
    AnchorFit,
    AnchorSetup,
    Levels,
    anchors_of_head,
    fit_of_levels,
    propose_anchors,
)
from mmmuse.analysis.training_boxes import Boxes, annotation_files, image_size_of, read_boxes
from mmmuse.checkpoints.mmengine_loading import refuse_code_in_files
from mmmuse.command_line.config import check_at_least, load_config
from mmmuse.command_line.explain import explained
from mmmuse.command_line.progress import shown, tracker
from mmmuse.command_line.report import check_json, print_table, write_json
from mmmuse.errors import InputError

from .early_checks import check_named_in_config
from .parsers.anchors import DEFAULT_IMAGE_SIZE

SMALL = 3  # Pixels; boxes with a shorter side are counted as small.


def check_numbers(args: argparse.Namespace) -> None:
    check_at_least(args, img_size=1, generations=0)
    if not 1 < args.threshold < float('inf'):
        raise InputError(f'--threshold is a factor above 1, got {args.threshold}')
    if not 0 <= args.seed < 2**32:
        raise InputError(f'--seed is between 0 and 2**32 - 1, got {args.seed}')


def number_of_anchors(asked: int | None, present: AnchorSetup) -> int:
    num_levels = len(present.levels)
    number = sum(map(len, present.levels)) if asked is None else asked
    if number < 1 or number % num_levels:
        raise InputError(f'--num-anchors is a multiple of the {num_levels} levels, got {number}')
    return number


def training_boxes(args: argparse.Namespace, config: Config) -> tuple[Boxes, list[str], int, str]:
    """Return the boxes, their files, the image size and its source."""
    dataset = (config.get('train_dataloader') or {}).get('dataset') or {}
    files = {args.ann_file: None} if args.ann_file else annotation_files(dataset)
    if not files:
        raise InputError("the config's train_dataloader has no annotation file; pass --ann-file")
    if args.img_size is not None:
        size, source = args.img_size, '--img-size'
    elif (size := image_size_of(dataset)) is not None:
        source = 'the training pipeline'
    else:
        size, source = DEFAULT_IMAGE_SIZE, 'the default'
    return read_boxes(files, size), list(files), size, source


def print_tables(
    title: str, fits: dict[str, AnchorFit], levels: dict[str, Levels], boxes: Boxes, strides: list
) -> None:
    print_table(
        title,
        ['anchors', 'best possible recall %', 'fitness', 'anchors per box'],
        [
            [name, f'{100 * fit.recall:.2f}', f'{fit.fitness:.4f}', f'{fit.anchors_per_box:.2f}']
            for name, fit in fits.items()
        ],
    )
    rows = []
    for name, fit in fits.items():
        for stride, sizes, matched in zip(strides, levels[name], fit.boxes_of_levels, strict=True):
            shown = ' '.join(f'{w:g}x{h:g}' for w, h in sizes)
            rows.append([name, stride, shown, matched, f'{100 * matched / len(boxes.sizes):.1f}'])
    print_table(
        'Boxes that match an anchor of each level',
        ['anchors', 'stride', 'sizes', 'boxes', '%'],
        rows,
    )


def report(args: argparse.Namespace) -> None:
    config = load_config(args.config, args.cfg_options)
    check_named_in_config('anchors', args, config)
    present = anchors_of_head(config.get('model') or {})
    number = number_of_anchors(args.num_anchors, present)
    with shown('reading the boxes'):
        boxes, files, size, source = training_boxes(args, config)
    track = tracker('refining the anchors')
    better = propose_anchors(
        boxes.sizes, present, number, args.threshold, args.generations, args.seed, track
    )
    levels = {'present': present.levels, **({'proposed': better} if better else {})}
    fits = {
        name: fit_of_levels(boxes.sizes, sizes, args.threshold) for name, sizes in levels.items()
    }
    small = int((boxes.sizes.amin(1) < SMALL).sum())
    left_out = ', '.join(f'{count} {reason}' for reason, count in sorted(boxes.left_out.items()))
    print(
        f'{", ".join(files)}: {len(boxes.sizes)} boxes, {small} with a side below {SMALL} px'
        + (f'; left out {left_out}' if left_out else '')
    )
    title = f'Images of {size} px (from {source}), threshold {args.threshold:g}'
    print_tables(title, fits, levels, boxes, present.strides)
    if better:
        print(
            f"{present.key}=dict(type='mmdet.YOLOAnchorGenerator', base_sizes={better}, "
            f'strides={present.strides})'
        )
    else:
        print(
            f'the present anchors are kept: no {number} anchors were found with a fitness above '
            f'{fits["present"].fitness:.4f}'
        )
    figures = dict(
        ann_files=files,
        img_size=size,
        threshold=args.threshold,
        generations=args.generations,
        seed=args.seed,
        boxes=len(boxes.sizes),
        small_boxes=small,
        left_out=dict(boxes.left_out),
        strides=present.strides,
        anchors={name: dict(base_sizes=levels[name], **fits[name]._asdict()) for name in levels},
    )
    write_json(args.json, figures)


def main(args: argparse.Namespace) -> None:
    with explained():
        refuse_code_in_files()
        check_json(args.json)
        check_numbers(args)
        MMLogger.get_instance('anchors', log_level='ERROR')
        report(args)
