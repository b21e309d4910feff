"""The command ``mmmuse cache-teacher``."""

import argparse
from pathlib import Path

import torch
from mmengine.logging import MMLogger

from mmmuse.analysis.teacher_outputs import build_offline, cache_teacher, save_cache
from mmmuse.checkpoints.mmengine_loading import refuse_code_in_files
from mmmuse.command_line.config import load_config
from mmmuse.command_line.explain import explained
from mmmuse.command_line.progress import shown
from mmmuse.datasets.load_checked_image import check_loaded_images

from .early_checks import check_named_in_config, check_output


def main(args: argparse.Namespace) -> None:
    with explained('interrupted; no cache was written'):
        refuse_code_in_files(args.trust_checkpoint)
        check_loaded_images()
        MMLogger.get_instance('cache_teacher', log_level='WARNING')
        check_output('cache-teacher', Path(args.out))
        config = load_config(args.config, args.cfg_options)
        check_named_in_config('cache-teacher', args, config)
        if args.trust_checkpoint:
            config.model.trust_teacher = True
        device = args.device or ('cuda' if torch.cuda.is_available() else 'cpu')
        with shown('building the teacher'):
            distiller = build_offline(config, args.views, args.seed).to(device)
        dtype = torch.float16 if args.half else torch.float32
        with shown('running the teacher') as work:
            cache = cache_teacher(config, distiller, dtype, work.report)
        save_cache(cache, Path(args.out))
        print(
            f'{args.out}: {args.views} views of {len(cache["labels"])} images; train with\n'
            f'  --cfg-options model.teacher_cache={args.out} data_preprocessor.fixed_views='
            f'{args.views} data_preprocessor.seed={args.seed}'
        )
