from collections.abc import Sequence

from mmengine.model import BaseModel

from mmmuse.variants import variant_head

from .self_distiller import SelfDistiller


def distill(
    model: BaseModel,
    modules: Sequence[str] | None = None,
    last: str | None = None,
    logits: str | None = None,
    variant: str = 'mi_x_si',
    num_modules: int = 4,
    input_shape: Sequence[int] | None = None,
    **head: object,
) -> SelfDistiller:
    """Wrap a built model for self-distillation.

    The model keeps its weights: a runner that trains the result does not
    initialise them anew.

    Args:
        model: A built mmpretrain classifier.
        modules: Paths of the shallow modules; None takes the proposal that
            ``tools/wrap.py`` prints, for ``num_modules`` modules.
        last: Path of the last feature's module; needed with ``modules``.
        logits: Path of the module that puts out the class logits.
        variant: A name of :data:`mmmuse.variants.VARIANTS`.
        num_modules: T of the proposal.
        input_shape: ``(C, H, W)`` of the dry run.
        **head: More arguments of :class:`mmmuse.heads.MUSEHead`.

    Returns:
        The distiller; ``distiller.student`` is the model.

    Raises:
        InputError: On an unknown variant or an unusable tap.

    Example::

        from mmpretrain import get_model

        distiller = mmmuse.distill(
            get_model('resnet18_8xb16_cifar10'),
            modules=['backbone.layer1', 'backbone.layer2', 'backbone.layer3'],
            last='backbone.layer4',
            logits='head',
        )
    """
    taps = dict(num_modules=num_modules)
    if modules is not None:
        taps = dict(modules=list(modules), last=last, logits=logits)
    distiller = SelfDistiller(
        model,
        taps,
        head={**variant_head(variant), **head},
        neck=dict(type='mmmuse.SelfDistillNeck'),
        input_shape=input_shape,
    )
    model._is_init = True
    return distiller
