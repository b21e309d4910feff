from torch import Tensor, nn

from mmmuse.errors import InputError

# Their loss runs the backbone once, on the first view of each image.
_ONE_FORWARD = ('MoCo', 'DenseCL')
_BASE = 'BaseSelfSupervisor'


def refuse_self_supervised(network: nn.Module) -> None:
    """Refuse mmpretrain's self-supervised methods as students, but those with one forward in a step.

    Most run their backbone several times in a step, on several views together, or on masked images, so that
    a tapped module has no single map of each image. A class of the user's own is not refused here: the taps
    refuse a module that runs twice.

    Args:
        network: The student.

    Raises:
        InputError: If the student is one of the others.
    """
    if is_self_supervised(network) and not set(_ONE_FORWARD) & set(_names(network)):
        raise InputError(
            f'{type(network).__name__} is not supported as a student: its backbone runs several times in a '
            'step, on several views together, or on masked images. Train its backbone with '
            'mmmuse.FeatureDistiller, or distil the classifier that is trained after it'
        )


def is_self_supervised(network: nn.Module) -> bool:
    """Return whether a network is one of mmpretrain's self-supervised methods."""
    return type(network).__module__.startswith('mmpretrain.') and _BASE in _names(network)


def _names(network: nn.Module) -> list[str]:
    return [kind.__name__ for kind in type(network).__mro__]


def first_view(inputs: Tensor | list[Tensor]) -> Tensor:
    """Return the images that a student's backbone sees: the first of several views of each image."""
    return inputs if isinstance(inputs, Tensor) else inputs[0]
