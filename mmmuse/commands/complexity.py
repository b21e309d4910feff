"""The command ``mmmuse complexity``."""

import argparse

from mmmuse.checkpoints.mmengine_loading import refuse_code_in_files
from mmmuse.command_line.config import load_config
from mmmuse.command_line.explain import explained
from mmmuse.command_line.input_shape import naming_input_shape
from mmmuse.command_line.progress import shown
from mmmuse.command_line.report import check_json, print_table, write_json
from mmmuse.export.data import image_shape
from mmmuse.export.exit_table import exit_costs
from mmmuse.export.trained import build_with_exits

COUNTS = (
    "params and MACs: of the exit as a plain network, what it costs: the backbone up to the exit, the exit's "
    'bottleneck or neck, and its classifier or head. One MAC is one multiplication with its addition.\n'
    "paper's params and FLOPs: as table 3 of the paper counts, to compare with it: only the convolutions of "
    'the backbone up to the exit, in one sequence without pooling and branches, and without the exit. '
    'Its FLOPs are multiply-adds too. They are not the cost of a network.'
)


def main(args: argparse.Namespace) -> None:
    with explained(), naming_input_shape(args.input_shape):
        refuse_code_in_files()
        check_json(args.json)
        config = load_config(args.config, args.cfg_options)
        with shown('building the network and counting multiply-adds'):
            model, distiller = build_with_exits(config)
            shape = tuple(args.input_shape or image_shape(config))
            costs = exit_costs(model, distiller, shape)
        full = costs[-1]
        figures = [
            dict(
                exit=cost.number,
                module=cost.module,
                params=cost.real.params,
                params_share=cost.real.params / full.real.params,
                macs=cost.real.flops,
                macs_share=cost.real.flops / full.real.flops,
                paper_params=cost.paper.params,
                paper_flops=cost.paper.flops,
            )
            for cost in costs
        ]
        print_table(
            f'{args.config}, input {" x ".join(map(str, shape))}; exit {full.number} is the full network',
            [
                'exit',
                'module',
                'params M',
                '%',
                'MACs M',
                '%',
                "paper's params M",
                "paper's FLOPs M",
            ],
            [
                [
                    row['exit'],
                    row['module'],
                    f'{row["params"] / 1e6:.3f}',
                    f'{100 * row["params_share"]:.1f}',
                    f'{row["macs"] / 1e6:.1f}',
                    f'{100 * row["macs_share"]:.1f}',
                    f'{row["paper_params"] / 1e6:.2f}',
                    f'{row["paper_flops"] / 1e6:.1f}',
                ]
                for row in figures
            ],
        )
        print(COUNTS)
        write_json(args.json, dict(input_shape=shape, exits=figures))
