"""The command ``mmmuse test``."""

import argparse
import os

import mmengine
from mmengine.dist import is_main_process
from mmengine.evaluator import DumpResults
from mmengine.runner import Runner

from mmmuse.analysis.exit_shares import add_exit_shares, shares_in_words
from mmmuse.checkpoints.mmengine_loading import refuse_code_in_files
from mmmuse.checkpoints.synced_write import SYNCED
from mmmuse.command_line.checkpoint import check_before_loading
from mmmuse.command_line.config import apply_shared_flags, load_config
from mmmuse.command_line.explain import explained
from mmmuse.command_line.run import end_process_group, run
from mmmuse.command_line.tta import apply_test_time_augmentation
from mmmuse.datasets.load_checked_image import check_loaded_images
from mmmuse.errors import InputError

from .early_checks import check_named_in_config


def evaluate(runner: Runner, args: argparse.Namespace) -> None:
    if args.out and args.out_item != 'metrics':
        runner.test_evaluator.metrics.append(DumpResults(out_file_path=args.out))
    add_exit_shares(runner, runner.cfg)
    metrics = runner.test()
    if (shares := shares_in_words(metrics)) is not None and is_main_process():
        print(shares)
    if args.out and args.out_item == 'metrics' and is_main_process():
        mmengine.dump(metrics, args.out, backend_args=dict(backend=SYNCED))


def main(args: argparse.Namespace) -> None:
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    with explained():
        refuse_code_in_files(args.trust_checkpoint)
        check_loaded_images()
        if args.out_item and not args.out:
            raise InputError('--out-item needs --out')
        ends = ('.json', '.yaml', '.yml', '.pkl') if args.out_item == 'metrics' else ('.pkl',)
        if args.out and not args.out.endswith(ends):
            raise InputError(f'--out is a file that ends in {" or ".join(ends)}, got {args.out}')
        config = load_config(args.config, args.cfg_options)
        apply_shared_flags(config, args)
        config.load_from = args.checkpoint
        config.resume = False  # True in the dump of a resumed run.
        if args.tta:
            apply_test_time_augmentation(config)
        check_named_in_config('test', args, config)
        if args.amp:
            config.test_cfg.fp16 = True
        check_before_loading(config, args.trust_checkpoint)
        run(config, lambda runner: evaluate(runner, args), keeps_config=True)
        end_process_group()
