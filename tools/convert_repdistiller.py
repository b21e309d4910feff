"""Convert a checkpoint of RepDistiller to OpenMMLab's names: ``convert_repdistiller.py SOURCE OUT --network resnet56``.

Its files are published by "Contrastive Representation Distillation" (Tian et al., ICLR 2020; https://github.com/HobbitLong/RepDistiller).
The output loads with the config that the command prints, for testing or as a teacher.
"""

import argparse
from pathlib import Path

import torch
from mmengine.registry import init_default_scope
from mmpretrain.datasets import CIFAR100

from mmmuse.checkpoints.files import read_file
from mmmuse.checkpoints.mmengine_loading import refuse_code_in_files
from mmmuse.checkpoints.repdistiller import NETWORKS, plain_weights
from mmmuse.checkpoints.state_dicts import check_same
from mmmuse.command_line.config import load_config
from mmmuse.command_line.explain import explained
from mmmuse.command_line.report import check_new_path
from mmmuse.registry import MODELS

CONFIGS = Path(__file__).resolve().parents[1] / 'configs' / 'baselines'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('source', help='a checkpoint of RepDistiller, e.g. ckpt_epoch_240.pth')
    parser.add_argument('out', type=Path, help='the checkpoint to write; it must not exist')
    parser.add_argument('--network', required=True, choices=list(NETWORKS), help='its network')
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='load a file that holds more than weights; it may run code',
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    with explained():
        refuse_code_in_files(args.trust_checkpoint)
        check_new_path(args.out)
        weights = plain_weights(args.network, read_file(args.source, args.trust_checkpoint))
        path = CONFIGS / f'{NETWORKS[args.network].config}.py'
        config = load_config(str(path), {})
        init_default_scope(config.default_scope)
        check_same('network', MODELS.build(config.model).state_dict(), weights)
        meta = dict(dataset_meta=dict(CIFAR100.METAINFO))
        torch.save(dict(meta=meta, state_dict=weights), args.out)
        print(f'{args.out} loads with configs/baselines/{path.name}')


if __name__ == '__main__':
    main()
