"""The command ``mmmuse complexity``."""

import argparse

from mmmuse.checkpoints.mmengine_loading import refuse_code_in_files
from mmmuse.command_line.config import load_config
from mmmuse.command_line.explain import explained
from mmmuse.command_line.report import check_json, print_table, write_json
from mmmuse.export.data import image_shape
from mmmuse.export.exit_network import check_exit
from mmmuse.export.exit_table import exit_costs
from mmmuse.export.trained import build_distiller


def main(args: argparse.Namespace) -> None:
    with explained():
        refuse_code_in_files()
        check_json(args.json)
        config = load_config(args.config, args.cfg_options)
        shape = tuple(args.input_shape or image_shape(config))
        distiller = build_distiller(config)
        check_exit(distiller, 1)
        costs = exit_costs(config.model, distiller, shape)
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
        write_json(args.json, dict(input_shape=shape, exits=figures))
