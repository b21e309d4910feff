"""Export an exit, a peer, a detector or a segmenter as a plain network.

The command writes to DIR ``config.py`` and ``checkpoint.pth``, which mmpretrain, mmdet or mmseg trains, tests
and serves without mmmuse, and by flag ONNX, ``torch.export`` and int8 files. Every form is compared with the
full network in cost and speed; if its outputs differ from those of the network, the export is
discarded. An int8 form is judged by its accuracy instead. Whether the config has a classifier, a detector or a segmenter is read from its model.
"""

import argparse
from pathlib import Path

from .shared import add_exit_flags

FORMS = {
    '--onnx': 'also as ONNX, checked in onnxruntime',
    '--nms': 'of a detector: suppression inside the ONNX file; includes --onnx',
    '--argmax': 'of a segmenter: classes of pixels inside the ONNX file; includes --onnx',
    '--torch-export': 'of a classifier: also as a torch.export program',
    '--int8': 'of a classifier or segmenter: also as int8 ONNX, calibrated on training images; includes --onnx',
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        'config', help='config of the distilled network, or of a plain detector or segmenter'
    )
    parser.add_argument('checkpoint', help='checkpoint of its training')
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        '--exit',
        type=int,
        help='exit 1 to T; T is the full network, the default for a detector or segmenter',
    )
    which.add_argument('--peer', help='one of the networks that were trained together')
    parser.add_argument('--out', type=Path, required=True, help='folder to create')
    for flag, help in FORMS.items():
        parser.add_argument(flag, action='store_true', help=help)
    parser.add_argument(
        '--calibration-images', type=int, default=512, help='images for --int8 (default 512)'
    )
    parser.add_argument(
        '--max-int8-loss',
        type=float,
        default=5.0,
        metavar='POINTS',
        help='top-1 or mIoU that int8 may lose, measured with --data, before the export is discarded (default 5)',
    )
    parser.add_argument(
        '--data',
        nargs='?',
        const=True,
        metavar='ROOT',
        help='evaluate on the test set of the config, or of a classifier on that in ROOT',
    )
    parser.add_argument(
        '--evaluate', action='store_const', dest='data', const=True, help='--data without ROOT'
    )
    parser.add_argument(
        '--batch-size', type=int, default=1, help='images per call in the latency (default 1)'
    )
    parser.add_argument('--trust-checkpoint', action='store_true', help='load more than weights')
    add_exit_flags(parser)
