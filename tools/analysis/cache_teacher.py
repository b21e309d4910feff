"""Store a teacher's outputs for fixed views of the training set: ``cache_teacher.py CONFIG --out FILE``.

A run with ``model.teacher_cache=FILE data_preprocessor.fixed_views=V data_preprocessor.seed=S`` then needs
no teacher. With as many views as epochs it is identical to the run with the teacher.
"""

import argparse
import sys
from pathlib import Path

import torch
from mmengine.logging import MMLogger

from mmmuse.analysis.teacher_outputs import build_offline, cache_teacher, save_cache
from mmmuse.checkpoints.mmengine_loading import refuse_code_in_files
from mmmuse.command_line.config import add_config_options, load_config
from mmmuse.command_line.explain import explained
from mmmuse.datasets.load_checked_image import check_loaded_images
from mmmuse.errors import InputError


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', help='config of an offline distiller')
    parser.add_argument('--out', required=True, help='file for the cache')
    parser.add_argument('--views', type=int, default=1, help='views of each image')
    parser.add_argument('--seed', type=int, default=0, help='of the views')
    parser.add_argument('--half', action='store_true', help='store float16')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--trust-checkpoint', action='store_true', help='load more than weights')
    add_config_options(parser, 'train_dataloader.dataset.data_root=data/cifar100')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with explained('interrupted; no cache was written'):
        refuse_code_in_files(args.trust_checkpoint)
        check_loaded_images()
        if Path(args.out).exists():
            raise InputError(f'{args.out} already exists; delete it or name another file')
        MMLogger.get_instance('cache_teacher', log_level='WARNING')
        config = load_config(args.config, args.cfg_options)
        if args.trust_checkpoint:
            config.model.trust_teacher = True
        distiller = build_offline(config, args.views, args.seed).to(args.device)
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


if __name__ == '__main__':
    main()
