from torch import Tensor, nn

from mmmuse.errors import InputError

# Their loss runs the backbone once, on the first view of each image.
_ONE_FORWARD = ('MoCo', 'DenseCL')
_BASE = 'BaseSelfSupervisor'


def refuse_self_supervised(network: nn.Module, but: tuple[str, ...] = _ONE_FORWARD) -> None:
    """Refuse mmpretrain's self-supervised methods as students.

    Most run their backbone several times in a step, or on masked images, so that a tapped module
    has no single map of the images. A class of the user's own is not refused here: the taps refuse a
    module that runs twice.

    Args:
        network: The student.
        but: Classes that are accepted.

    Raises:
        InputError: If the student is one of the others.
    """
    names = [kind.__name__ for kind in type(network).__mro__]
    if (
        _BASE in names
        and type(network).__module__.startswith('mmpretrain.')
        and not set(but) & set(names)
    ):
        raise InputError(
            f'{names[0]} is no student: a self-supervised method runs its backbone several times in a '
            'step, or on masked images. Train its backbone with mmmuse.FeatureDistiller, or distil the '
            'classifier that is trained after it'
        )


def first_view(inputs: Tensor | list[Tensor]) -> Tensor:
    """Return the images that a student's backbone sees: the first of several views of each image."""
    return inputs if isinstance(inputs, Tensor) else inputs[0]
