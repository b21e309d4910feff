"""The command ``mmmuse wrap``."""

import argparse

from mmengine.config import Config

from mmmuse.checkpoints.mmengine_loading import refuse_code_in_files
from mmmuse.command_line.explain import explained
from mmmuse.command_line.report import print_table
from mmmuse.command_line.wrapping import distilled_config, load_plain_config, propose_for_config
from mmmuse.errors import InputError
from mmmuse.tapping.proposal import TapProposal


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


def main(args: argparse.Namespace) -> None:
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
