"""The command ``mmmuse cache-teacher``."""

import argparse
import shlex
import sys
from pathlib import Path

import torch
from mmengine.logging import MMLogger

from mmmuse.analysis.teacher_outputs import (
    build_offline,
    cache_index,
    cache_teacher,
    check_space,
    described,
    loader_of,
)
from mmmuse.checkpoints.mmengine_loading import refuse_code_in_files
from mmmuse.command_line.config import load_config
from mmmuse.command_line.explain import explained
from mmmuse.command_line.option_values import written_value
from mmmuse.command_line.progress import shown
from mmmuse.datasets.load_checked_image import check_loaded_images

from .early_checks import check_named_in_config, check_output


def main(args: argparse.Namespace) -> None:
    out = Path(args.out)
    with explained('interrupted; the same command goes on'):
        refuse_code_in_files(args.trust_checkpoint)
        check_loaded_images()
        MMLogger.get_instance('cache_teacher', log_level='WARNING')
        check_output('cache-teacher', out)
        config = load_config(args.config, args.cfg_options)
        check_named_in_config('cache-teacher', args, config)
        if args.trust_checkpoint:
            config.model.trust_teacher = True
        device = args.device or ('cuda' if torch.cuda.is_available() else 'cpu')
        with shown('building the teacher'):
            distiller = build_offline(config, args.views, args.seed).to(device)
            loader = loader_of(config)
            index = cache_index(config, distiller, loader, args.type, args.features)
        check_space(index, out)
        print(f'{out}: {described(index)}', file=sys.stderr)
        with shown('running the teacher') as work:
            cache_teacher(distiller, loader, index, out, work.report)
        cache = shlex.quote(f'model.teacher_cache={written_value(str(out))}')
        has_several_views = (config.get('data_preprocessor') or {}).get('num_views', 1) > 1
        print(
            f'{out}: {args.views} views of {index.images} images; train with\n'
            f'  --cfg-options {cache} data_preprocessor.fixed_views='
            f'{args.views} data_preprocessor.seed={args.seed}'
            + ' data_preprocessor.num_views=1'
            * has_several_views
        )
