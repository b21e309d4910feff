"""The command ``mmmuse cache-teacher``."""

import argparse
import sys
from pathlib import Path

import torch
from mmengine.logging import MMLogger

from mmmuse.analysis.teacher_outputs import build_offline, cache_teacher, save_cache
from mmmuse.checkpoints.mmengine_loading import refuse_code_in_files
from mmmuse.command_line.config import load_config
from mmmuse.command_line.explain import explained
from mmmuse.datasets.load_checked_image import check_loaded_images
from mmmuse.errors import InputError


def main(args: argparse.Namespace) -> None:
    with explained('interrupted; no cache was written'):
        refuse_code_in_files(args.trust_checkpoint)
        check_loaded_images()
        if Path(args.out).exists():
            raise InputError(f'{args.out} already exists; delete it or name another file')
        MMLogger.get_instance('cache_teacher', log_level='WARNING')
        config = load_config(args.config, args.cfg_options)
        if args.trust_checkpoint:
            config.model.trust_teacher = True
        device = args.device or ('cuda' if torch.cuda.is_available() else 'cpu')
        distiller = build_offline(config, args.views, args.seed).to(device)
        dtype = torch.float16 if args.half else torch.float32
        cache = cache_teacher(config, distiller, dtype, show_progress)
        save_cache(cache, Path(args.out))
        print(
            f'{args.out}: {args.views} views of {len(cache["labels"])} images; train with\n'
            f'  --cfg-options model.teacher_cache={args.out} data_preprocessor.fixed_views='
            f'{args.views} data_preprocessor.seed={args.seed}'
        )


def show_progress(done: int, total: int) -> None:
    if sys.stderr.isatty() or done == total:
        print(f'\rbatch {done} of {total}', end='\n' if done == total else '', file=sys.stderr)
