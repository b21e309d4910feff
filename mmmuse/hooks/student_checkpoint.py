from collections import OrderedDict

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import BaseLoop

from mmmuse.distillers import BaseDistiller
from mmmuse.errors import InputError
from mmmuse.registry import HOOKS

_STUDENT = 'student.'
_REST = 'distiller'


@HOOKS.register_module()
class StudentCheckpointHook(Hook):
    """Save the student under its own names, so that a plain config loads the file as it is.

    ``state_dict`` holds the student's weights and nothing else; neck, head and
    critics go under ``distiller`` and come back on resume. With ``EMAHook``
    both halves are the averaged ones, as in MMEngine. Models that are no
    distillers are left alone.

    Raises:
        InputError: On resuming or testing, if the weights are of another
            network; on resuming, also if the exits or critics are others. The
            tensors that differ are named.
    """

    # The first to see a loaded file; its other half is the last to see one that is saved.
    priority = 'VERY_HIGH'

    def before_run(self, runner) -> None:
        """Register the half that runs after every hook that adds to a checkpoint."""
        if not any(isinstance(hook, _SplitStudentHook) for hook in runner.hooks):
            runner.register_hook(_SplitStudentHook(), priority='LOWEST')

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Put the two halves together again under the distiller's names."""
        model = distiller_of(runner)
        if model is None:
            return
        weights = checkpoint.get('state_dict', checkpoint)
        if not any(_STUDENT in name for name in weights):
            weights = _with_prefix(weights)
        fine_tuning = isinstance(runner._train_loop, BaseLoop) and not runner._resume
        own, own_rest = _halves(model.state_dict())
        if not fine_tuning:  # There, a head of other classes is what the user wants.
            _check_same('network', own, _halves(weights)[0])
        rest = checkpoint.get(_REST)
        if rest is not None:
            if runner._resume:
                _check_same('neck or head', own_rest, rest)
            weights.update(rest)
        elif runner._resume:
            raise InputError(
                'the checkpoint holds a student alone, so training cannot be resumed '
                'from it; start from its weights with load_from instead of --resume'
            )
        elif own_rest:
            runner.logger.warning(
                'The checkpoint holds a student alone: the exits and critics start untrained.'
            )
        checkpoint['state_dict'] = weights


class _SplitStudentHook(Hook):
    priority = 'LOWEST'

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        model = distiller_of(runner)
        if model is None:
            return
        model.check_finite()
        weights = checkpoint['state_dict']
        checkpoint['state_dict'] = _without_prefix(weights)
        checkpoint[_REST] = _halves(weights)[1]


def _without_prefix(weights: OrderedDict) -> OrderedDict:
    """Return the student's part of a state dict, module versions included, under plain names."""
    plain = OrderedDict(
        (name.removeprefix(_STUDENT), value)
        for name, value in weights.items()
        if name.startswith(_STUDENT)
    )
    plain._metadata = OrderedDict(
        (f'{name}.'.removeprefix(_STUDENT).removesuffix('.'), version)
        for name, version in getattr(weights, '_metadata', {}).items()
        if f'{name}.'.startswith(_STUDENT)
    )
    return plain


def _with_prefix(weights: dict) -> OrderedDict:
    """Return plain weights, as a distiller or MMEngine saved them, under the distiller's names."""
    prefixed = OrderedDict(
        (_STUDENT + name.removeprefix('module.'), value) for name, value in weights.items()
    )
    prefixed._metadata = OrderedDict(
        (f'{_STUDENT}{name}'.removesuffix('.'), version)
        for name, version in getattr(weights, '_metadata', {}).items()
    )
    return prefixed


def distiller_of(runner) -> BaseDistiller | None:
    """Return the distiller that a runner trains or tests, DDP taken off; None if it is no distiller."""
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    return model if isinstance(model, BaseDistiller) else None


def _halves(weights: dict) -> tuple[dict, dict]:
    """Return the student's part of a distiller's weights, and the rest, under their full names."""
    student = {name: value for name, value in weights.items() if name.startswith(_STUDENT)}
    return student, {name: value for name, value in weights.items() if name not in student}


def _check_same(part: str, model: dict, file: dict) -> None:
    """Compare names and shapes of a model's weights with those of a checkpoint."""
    own, found = (
        {name: tuple(value.shape) for name, value in weights.items()} for weights in (model, file)
    )
    differ = [
        f'{name.removeprefix(_STUDENT)} ({own.get(name, "missing")} in the model, '
        f'{found.get(name, "missing")} in the file)'
        for name in own.keys() | found.keys()
        if own.get(name) != found.get(name)
    ]
    if differ:
        more = f' and {len(differ) - 3} more' if len(differ) > 3 else ''
        raise InputError(
            f'the checkpoint is of another {part}; these tensors differ: '
            f'{"; ".join(sorted(differ)[:3])}{more}'
        )
