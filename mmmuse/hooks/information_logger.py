from collections import Counter

from mmengine.hooks import Hook
from torch import Tensor, nn

from mmmuse.arguments import PositiveInt
from mmmuse.checkpoints.content import INFORMATION
from mmmuse.distillers.gradient_ratio import GRADIENT_RATIO
from mmmuse.estimators import InformationEstimator
from mmmuse.losses import INFORMATION_TERM
from mmmuse.registry import HOOKS

from .student_checkpoint import distiller_of

PREFIX = 'information/'
UNINFORMED = 'uninformed_loss'


@HOOKS.register_module()
class InformationLoggerHook(Hook):
    """Log MUSE's losses and its share of the gradient to the visualizer every ``interval`` steps.

    Every backend of the visualizer gets these (local JSON, TensorBoard, WandB), which
    ``mmmuse information`` draws:

    - ``information/mi_loss_1``, ``information/si_loss_1``, ...: means of the steps of an interval
      that have the loss, in nats. The sums are in the checkpoint, so a resumed run logs what an
      uninterrupted one does.
    - ``information/gradient_ratio``: of the interval's last step, the length of MUSE's gradient
      over that of the network's own loss; see :func:`mmmuse.distillers.gradient_ratio.
      gradient_ratio`. It is in MMEngine's log as well, and costs two partial backward passes
      an interval. A compiled distiller does not measure it.
    - ``information/uninformed_loss``: the loss of an untrained critic, where all
      estimators have the same (2 log 2 for Jensen-Shannon).

    Of networks that are trained together, each has its own (``information/a.mi_loss_1``).

    Args:
        interval: Steps over which a point is averaged; the paper's figures 2
            and 3 use 100.

    Raises:
        InputError: If the interval is below 1.
    """

    priority = 'BELOW_NORMAL'

    def __init__(self, interval: PositiveInt = 100) -> None:
        self.interval = interval
        self._sums: dict[str, Tensor | float] = {}
        self._steps: Counter[str] = Counter()
        self._ratios: dict[str, Tensor] = {}

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Save the sums of an interval that has not ended."""
        if self._sums and 'optimizer' in checkpoint:
            checkpoint[INFORMATION] = {
                name: (float(total), self._steps[name]) for name, total in self._sums.items()
            }

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Go on with the sums of a resumed checkpoint."""
        saved = checkpoint.pop(INFORMATION, {}) if runner._resume else {}
        self._sums = {name: total for name, (total, _) in saved.items()}
        self._steps = Counter({name: steps for name, (_, steps) in saved.items()})

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        """Ask for the gradients' ratio in the last step of an interval."""
        distiller = distiller_of(runner)
        if distiller is not None:
            distiller.measures_gradients = (runner.iter + 1) % self.interval == 0

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        """Add up the step's terms; write their means at the end of an interval."""
        outputs = outputs or {}
        for name, value in outputs.items():
            if INFORMATION_TERM.match(name):
                self._sums[name] = self._sums[name] + value if name in self._sums else value
                self._steps[name] += 1
            elif name == GRADIENT_RATIO or name.endswith(f'.{GRADIENT_RATIO}'):
                self._ratios[name] = value
        if self._sums and (runner.iter + 1) % self.interval == 0:
            self._write(runner, runner.iter + 1)

    def after_train(self, runner) -> None:
        """Write what the last, incomplete interval holds."""
        if self._sums:
            self._write(runner, runner.iter)

    def _write(self, runner, step: int) -> None:
        scalars = {name: float(total) / self._steps[name] for name, total in self._sums.items()}
        scalars |= {name: float(ratio) for name, ratio in self._ratios.items()}
        uninformed = uninformed_loss(runner.model)
        if uninformed is not None:
            scalars[UNINFORMED] = uninformed
        runner.visualizer.add_scalars(
            {PREFIX + name: value for name, value in scalars.items()}, step=step
        )
        self._sums, self._steps, self._ratios = {}, Counter(), {}


def uninformed_loss(model: nn.Module) -> float | None:
    """Return the loss of critics that know nothing, if all estimators of a model share one."""
    found = {
        module.uninformed_loss
        for module in model.modules()
        if isinstance(module, InformationEstimator)
    }
    return found.pop() if len(found) == 1 else None
