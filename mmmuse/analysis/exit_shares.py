"""Which exits images take in a test of early exit, and what that costs."""

from collections.abc import Mapping

from mmengine.config import Config
from mmengine.runner import Runner

from mmmuse.distillers import EarlyExitClassifier
from mmmuse.errors import ImageShapeError
from mmmuse.export.data import image_shape
from mmmuse.export.exit_table import exit_costs
from mmmuse.export.trained import build_distiller
from mmmuse.hooks.student_checkpoint import unwrapped
from mmmuse.metrics import ExitShares

from .early_exit import cumulative_costs


def add_exit_shares(runner: Runner, config: Config) -> None:
    """Add :class:`mmmuse.metrics.ExitShares` to the test of an ``EarlyExitClassifier``.

    Args:
        runner: Before its test.
        config: Its config.
    """
    model = unwrapped(runner.model)
    if isinstance(model, EarlyExitClassifier):
        metric = ExitShares(len(model.thresholds) + 1, early_exit_costs(config, model.thresholds))
        runner.test_evaluator.metrics.append(metric)


def early_exit_costs(config: Config, thresholds: tuple[float | None, ...]) -> list[float] | None:
    """Return the multiply-adds of an image that takes each exit; None if its size is not known.

    Args:
        config: Of the distilled network.
        thresholds: Of the exits; None for one that is not computed.
    """
    try:
        shape = image_shape(config)
    except ImageShapeError:
        return None
    costs = exit_costs(config.model, build_distiller(config), shape)
    return cumulative_costs(
        [*(cost.trunk_macs for cost in costs[:-1]), costs[-1].real.flops],
        [cost.real.flops - cost.trunk_macs for cost in costs[:-1]],
        [threshold is not None for threshold in thresholds],
    ).tolist()


def shares_in_words(metrics: Mapping[str, float]) -> str | None:
    """Return the metrics of ``ExitShares`` as one line; None if there are none."""
    shares = [value for key, value in metrics.items() if key.endswith('/share')]
    if not shares:
        return None
    line = ', '.join(f'exit {i} {share:.1f} %' for i, share in enumerate(shares, 1))
    if 'average_macs' in metrics:
        line += (
            f'; on average {metrics["average_macs"] / 1e6:.2f} M multiply-adds for an image, '
            f'{metrics["macs_share"]:.1f} % of an image that takes the last exit'
        )
    return f'images that take each exit: {line}'
