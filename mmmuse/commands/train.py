"""The command ``mmmuse train``."""

import argparse
import os

from mmmuse.checkpoints.mmengine_loading import refuse_code_in_files
from mmmuse.command_line.checkpoint import check_before_loading
from mmmuse.command_line.config import apply_training_flags, load_config
from mmmuse.command_line.explain import explained
from mmmuse.command_line.run import end_process_group, run, train
from mmmuse.datasets.load_checked_image import check_loaded_images

from .early_checks import check_named_in_config


def main(args: argparse.Namespace) -> None:
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    with explained('interrupted; --resume goes on from the last checkpoint, if one was saved'):
        refuse_code_in_files(args.trust_checkpoint)
        check_loaded_images()
        config = load_config(args.config, args.cfg_options)
        weights = config.get('load_from')
        apply_training_flags(config, args)
        check_named_in_config('train', args, config)
        resume_from = check_before_loading(config, args.trust_checkpoint, weights)
        run(config, train, resume_from)
        end_process_group()
