"""Write a distilled config for a plain one: ``python tools/wrap.py CONFIG --out my_config.py``.

Runs the model once on a blank image, prints every module that can be tapped, proposes where to cut
the network, and writes a short config that inherits from CONFIG.
"""

import argparse
from pathlib import Path

from mmengine.config import Config

from mmmuse.checkpoints.mmengine_loading import refuse_code_in_files
from mmmuse.command_line.explain import explained
from mmmuse.command_line.report import print_table
from mmmuse.command_line.wrapping import distilled_config, load_plain_config, propose_for_config
from mmmuse.errors import InputError
from mmmuse.heads.variants import VARIANTS
from mmmuse.tapping.proposal import TapProposal


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        'config', help='a config file, or mmpretrain::folder/file.py, mmdet::folder/file.py'
    )
    parser.add_argument(
        '--variant',
        choices=list(VARIANTS),
        metavar='NAME',
        help=f'one of {", ".join(VARIANTS)}; mi_x_si by default, or mi_x_si_alone without class logits',
    )
    parser.add_argument(
        '--modules',
        type=int,
        default=4,
        metavar='T',
        help='number of modules to cut the network into',
    )
    parser.add_argument(
        '--input-shape',
        type=int,
        nargs=3,
        metavar=('C', 'H', 'W'),
        help='shape of the blank image; chosen by default',
    )
    parser.add_argument('--out', required=True, type=Path, help='the config to write')
    return parser.parse_args()


def show(proposal: TapProposal) -> None:
    ends = {path: f'module {i}' for i, path in enumerate(proposal.modules, 1)}
    ends[proposal.last] = 'last feature'
    if proposal.logits is not None:
        ends[proposal.logits] = 'logits'
    rows = []
    for module in proposal.tappable:
        marks = ['resolution falls'] * module.falls + [ends.get(module.path, '')]
        rows.append(
            [
                module.path,
                ' x '.join(map(str, module.shape)),
                f'{module.stride:g}' if module.stride else '-',
                f'{100 * module.params / proposal.total_params:.1f}',
                f'{100 * module.params_so_far / proposal.total_params:.1f}',
                ', '.join(filter(None, marks)),
            ]
        )
    shape = ' x '.join(map(str, proposal.input_shape))
    print_table(
        f'Modules that can be tapped (input {shape}, {proposal.total_params:,} parameters)',
        ['module', 'output', 'stride', '% params', '% so far', ''],
        rows,
    )


def main() -> None:
    args = parse_args()
    with explained():
        refuse_code_in_files()
        if args.out.exists():
            raise InputError(f'{args.out} already exists')
        if args.out.suffix != '.py' or not args.out.parent.is_dir():
            raise InputError(f'--out is a .py file in a folder that exists, got {args.out}')
        config = load_plain_config(args.config)
        proposal = propose_for_config(config, args.modules, args.input_shape)
        variant = args.variant or ('mi_x_si' if proposal.logits else 'mi_x_si_alone')
        text = distilled_config(args.config, config, proposal, variant, args.out)
        show(proposal)
        args.out.write_text(text)
        Config.fromfile(args.out)
        print(f'{text}\nwritten to {args.out}; train it with: python tools/train.py {args.out}')


if __name__ == '__main__':
    main()
