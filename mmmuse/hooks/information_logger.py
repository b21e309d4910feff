import re

from mmengine.hooks import Hook
from torch import Tensor

from mmmuse.errors import InputError
from mmmuse.registry import HOOKS

INFORMATION_TERM = re.compile(r'^(\w+\.)?(mi|si)_\d+$')  # Of a peer: a.mi_1
INFORMATION_SCALAR = re.compile(r'^information/(\w+\.)?(mi|si)_\d+$')


@HOOKS.register_module()
class InformationLoggerHook(Hook):
    """Send the means of ``mi_i`` and ``si_i`` to the visualizer every ``interval`` steps.

    Every backend of the visualizer gets them (local JSON, TensorBoard, WandB),
    as ``information/mi_1`` and so on, in nats. ``tools/analysis/
    plot_information.py`` draws them. Sums stay on the device between.

    Args:
        interval: Steps over which a point is averaged; the paper's figures 2
            and 3 use 100.

    Raises:
        InputError: If the interval is below 1.
    """

    priority = 'BELOW_NORMAL'

    def __init__(self, interval: int = 100) -> None:
        if interval < 1:
            raise InputError(
                f'InformationLoggerHook needs an interval of at least 1, got {interval}'
            )
        self.interval = interval
        self._sums: dict[str, Tensor] = {}
        self._steps = 0

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        """Add up the step's terms; write their means at the end of an interval."""
        terms = {
            name: value for name, value in (outputs or {}).items() if INFORMATION_TERM.match(name)
        }
        if not terms:
            return
        for name, value in terms.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._steps += 1
        if self._steps == self.interval:
            self._write(runner, runner.iter + 1)

    def after_train(self, runner) -> None:
        """Write what the last, incomplete interval holds."""
        if self._steps:
            self._write(runner, runner.iter)

    def _write(self, runner, step: int) -> None:
        means = {
            f'information/{name}': float(total) / self._steps for name, total in self._sums.items()
        }
        runner.visualizer.add_scalars(means, step=step)
        self._sums, self._steps = {}, 0
