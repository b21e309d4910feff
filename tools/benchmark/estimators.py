"""Estimates of mutual information against its true value, between correlated Gaussian vectors.

Each estimator trains its own critic (concat, every pair of a batch) and is evaluated on new pairs.
InfoNCE's estimate is at most the logarithm of the batch size. The Jensen-Shannon loss is not an
estimate in nats: its trained critic scores the logarithm of the density ratio, at which the bound
of Nguyen, Wainwright and Jordan (NWJ) is evaluated (Poole et al., ICML 2019).
"""

import argparse
import math

from mmmuse.analysis.gaussian_information import (
    estimate_gaussian_information,
    gaussian_information,
)
from mmmuse.checkpoints.mmengine_loading import refuse_code_in_files
from mmmuse.command_line.config import check_at_least
from mmmuse.command_line.device import add_device_flag, check_device
from mmmuse.command_line.explain import explained
from mmmuse.command_line.report import check_json, hardware, print_table, write_json
from mmmuse.errors import InputError
from mmmuse.estimators import NWJ, DonskerVaradhan, InfoNCE, JensenShannon

ESTIMATORS = {
    'Jensen-Shannon critic, NWJ bound': JensenShannon,
    'InfoNCE': InfoNCE,
    'Donsker-Varadhan': DonskerVaradhan,
    'NWJ': NWJ,
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--dim', type=int, default=2, help='dimensions of either vector')
    parser.add_argument(
        '--rho',
        type=float,
        nargs='+',
        default=[0.0, 0.3, 0.6, 0.9],
        help='correlations of each dimension, between -1 and 1',
    )
    parser.add_argument('--steps', type=int, default=400, help='batches to train on')
    parser.add_argument('--batch-size', type=int, default=128, help='pairs of a batch')
    parser.add_argument('--seed', type=int, default=0, help='of critics and pairs')
    add_device_flag(parser)
    parser.add_argument('--json', help='file for the figures')
    return parser.parse_args()


def check(args: argparse.Namespace) -> None:
    check_json(args.json)
    check_device(args.device)
    check_at_least(args, dim=1, steps=1, batch_size=2, seed=0)
    if args.seed >= 2**63:
        raise InputError(f'--seed is below 2**63, got {args.seed}')
    for rho in args.rho:
        if not -1 < rho < 1:
            raise InputError(f'--rho is between -1 and 1, got {rho}')


def measure(rho: float, args: argparse.Namespace) -> dict:
    estimates = {
        name: estimate_gaussian_information(
            estimator(), rho, args.dim, args.steps, args.batch_size, args.seed, device=args.device
        )
        for name, estimator in ESTIMATORS.items()
    }
    return dict(
        rho=rho,
        analytic=gaussian_information(rho, args.dim),
        estimates={name: estimate._asdict() for name, estimate in estimates.items()},
    )


def main() -> None:
    args = parse_args()
    with explained():
        refuse_code_in_files()
        check(args)
        rows = [measure(rho, args) for rho in args.rho]
        print_table(
            f'Mutual information in nats of Gaussians of dimension {args.dim}, mean and standard '
            f'error; {args.steps} steps of {args.batch_size} pairs, InfoNCE at most '
            f'{math.log(args.batch_size):.2f}; {hardware(args.device)}',
            ['rho', 'analytic', *ESTIMATORS],
            [
                [
                    row['rho'],
                    f'{row["analytic"]:.3f}',
                    *(
                        f'{estimate["mean"]:.3f} ± {estimate["standard_error"]:.3f}'
                        for estimate in row['estimates'].values()
                    ),
                ]
                for row in rows
            ],
        )
        settings = dict(dim=args.dim, steps=args.steps, batch_size=args.batch_size, seed=args.seed)
        write_json(args.json, dict(settings=settings, rows=rows), args.device)


if __name__ == '__main__':
    main()
