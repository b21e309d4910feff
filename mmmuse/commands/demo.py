"""The command ``mmmuse demo``."""

import argparse
import shutil
import sys
from pathlib import Path

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmmuse.analysis.information import Curves, curves_of, read_information
from mmmuse.analysis.information_figure import draw_information
from mmmuse.checkpoints.mmengine_loading import refuse_code_in_files
from mmmuse.command_line.config import check_at_least
from mmmuse.command_line.explain import explained
from mmmuse.command_line.noise import silence_logger
from mmmuse.command_line.progress import Work, shown
from mmmuse.command_line.report import print_table
from mmmuse.compat.shipped_configs import configs_folder
from mmmuse.datasets.load_checked_image import check_loaded_images
from mmmuse.hooks.information_logger import UNINFORMED

from .demo_folders import check_demo_folder

CONFIGS = {'baseline': 'resnet18_digits.py', 'MI x SI': 'resnet18_digits_mi_x_si.py'}


class ProgressHook(Hook):
    """Shows the number of steps."""

    def __init__(self, work: Work) -> None:
        self.work = work

    def before_train(self, runner: Runner) -> None:
        self.work.report(0, runner.max_iters)

    def after_train_iter(self, *args: object, **kwargs: object) -> None:
        self.work.advance()


def experiment_of(name: str) -> str:
    """Return the name in the config of a run, by which the next demo knows it."""
    return f'demo {name}'


def train(name: str, work_dir: Path, epochs: int | None) -> dict[str, float]:
    """Train one config from scratch and return its metrics after the last epoch."""
    config = Config.fromfile(configs_folder() / 'demo' / CONFIGS[name])
    config.work_dir = str(work_dir)
    config.log_level = 'ERROR'
    config.experiment_name = experiment_of(name)
    if epochs is not None:
        config.train_cfg.max_epochs = epochs
        config.param_scheduler.T_max = epochs
    with shown(f'training {name}') as work:
        runner = Runner.from_cfg(config)
        silence_logger(runner.logger)
        runner.register_hook(ProgressHook(work))
        runner.train()
        return runner.val()


def print_information(curves: Curves) -> None:
    """Print the last MI loss of each shallow module beside that of an untrained critic."""
    (untrained,) = set(curves[UNINFORMED].values())
    rows = [
        [f'module {module}', f'{points[max(points)]:.3f}', f'{untrained:.3f}']
        for module, points in curves_of(curves, None, 'mi').items()
    ]
    columns = ['', 'last steps', 'untrained critic']
    print_table('MI loss with the last feature (nats)', columns, rows)


def main(args: argparse.Namespace) -> None:
    with explained('interrupted; run it again to start over'):
        refuse_code_in_files()
        check_loaded_images()
        check_at_least(args, epochs=1)
        folders = {name: args.work_dir / name.replace(' ', '') for name in CONFIGS}
        for name, folder in folders.items():
            check_demo_folder(folder, CONFIGS[name], experiment_of(name))
        metrics = {}
        for name, folder in folders.items():
            if folder.exists():  # Each demo starts from scratch.
                shutil.rmtree(folder)
            metrics[name] = train(name, folder, args.epochs)
        distilled, baseline = metrics['MI x SI'], metrics['baseline']['accuracy/top1']
        exits = sorted(key for key in distilled if key.startswith('exit'))
        rows = [
            [
                f'MI x SI, exit {i}' + (' (the full network)' if i == len(exits) else ''),
                f'{distilled[key]:.2f}',
                f'{baseline:.2f}',
            ]
            for i, key in enumerate(exits, 1)
        ]
        print_table(
            'Top-1 accuracy on 450 test digits (%), last epoch',
            ['network', 'distilled', 'baseline'],
            rows,
        )
        curves = read_information(args.work_dir / 'MIxSI')
        print_information(curves)
        picture = args.work_dir / 'information.png'
        draw_information({'MI x SI': curves}, picture)
        print(
            f'MI and SI curves: {picture.resolve()}\nlogs and checkpoints: '
            f'{args.work_dir.resolve()}'
        )
        sys.stdout.flush()
