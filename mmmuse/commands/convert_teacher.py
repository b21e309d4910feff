"""The command ``mmmuse convert-teacher``."""

import argparse

from mmengine.registry import init_default_scope
from mmpretrain.datasets import CIFAR100

from mmmuse.checkpoints.files import read_file
from mmmuse.checkpoints.mmengine_loading import refuse_code_in_files
from mmmuse.checkpoints.repdistiller import NETWORKS, plain_weights
from mmmuse.checkpoints.save import save_synced
from mmmuse.checkpoints.state_dicts import check_same
from mmmuse.command_line.config import load_config
from mmmuse.command_line.explain import explained
from mmmuse.command_line.progress import shown
from mmmuse.command_line.report import check_new_path
from mmmuse.compat.shipped_configs import configs_folder
from mmmuse.errors import InputError
from mmmuse.registry import MODELS


def main(args: argparse.Namespace) -> None:
    with explained():
        refuse_code_in_files(args.trust_checkpoint)
        check_new_path(args.out)
        if args.network not in NETWORKS:
            raise InputError(f'unknown network {args.network!r}; available: {", ".join(NETWORKS)}')
        with shown('reading the checkpoint'):
            weights = plain_weights(args.network, read_file(args.source, args.trust_checkpoint))
        path = configs_folder() / 'baselines' / f'{NETWORKS[args.network].config}.py'
        config = load_config(str(path), {})
        init_default_scope(config.default_scope)
        with shown('comparing the weights with the network'):
            check_same('network', MODELS.build(config.model).state_dict(), weights, args.source)
        meta = dict(dataset_meta=dict(CIFAR100.METAINFO))
        save_synced(dict(meta=meta, state_dict=weights), args.out)
        print(f'{args.out} loads with configs/baselines/{path.name}')
