"""Train a model: ``python tools/train.py CONFIG``; the flags are mmpretrain's."""

import argparse
import os

from mmmuse.checkpoints.mmengine_loading import refuse_code_in_files
from mmmuse.command_line.checkpoint import check_before_loading
from mmmuse.command_line.config import add_shared_flags, apply_training_flags, load_config
from mmmuse.command_line.explain import explained
from mmmuse.command_line.run import run, train
from mmmuse.datasets.load_checked_image import check_loaded_images


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='resume from a checkpoint, by default the latest in the work dir',
    )
    parser.add_argument('--no-validate', action='store_true', help='do not evaluate while training')
    parser.add_argument(
        '--auto-scale-lr', action='store_true', help='scale the learning rate with the batch size'
    )
    add_shared_flags(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    with explained('interrupted; --resume goes on from the last checkpoint, if one was saved'):
        refuse_code_in_files(args.trust_checkpoint)
        check_loaded_images()
        config = load_config(args.config, args.cfg_options)
        apply_training_flags(config, args)
        resume_from = check_before_loading(config, args.trust_checkpoint)
        run(config, train, resume_from)


if __name__ == '__main__':
    main()
