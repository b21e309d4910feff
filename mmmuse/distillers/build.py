from collections.abc import Sequence

from mmengine.config import Config
from mmengine.model import BaseModel
from typing_extensions import Unpack

from mmmuse.errors import InputError
from mmmuse.heads.head_arguments import HeadArguments
from mmmuse.heads.variants import variant_head

from .self_distiller import SelfDistiller


def distill(
    model: BaseModel,
    modules: Sequence[str] | None = None,
    last: str | None = None,
    logits: str | None = None,
    variant: str = 'mi_x_si',
    num_modules: int = 4,
    input_shape: Sequence[int] | None = None,
    **head: Unpack[HeadArguments],
) -> SelfDistiller:
    """Wrap a built model for self-distillation.

    The model keeps its weights: a runner that trains the result does not
    initialise them anew. It is put into training mode.

    Args:
        model: A built mmpretrain classifier.
        modules: Paths of the shallow modules; None takes the proposal that
            ``mmmuse wrap`` prints, for ``num_modules`` modules.
        last: Path of the last feature's module; needed with ``modules``, and
            refused without.
        logits: Path of the module whose output is the class logits, likewise;
            None without exits.
        variant: A name of :data:`mmmuse.heads.variants.VARIANTS`.
        num_modules: T of the proposal; read only without ``modules``.
        input_shape: ``(C, H, W)`` of the dry run.
        **head: More arguments of :class:`mmmuse.heads.MUSEHead`, merged into the
            variant's, e.g. ``discrepancy=dict(loss_weight=0.1)``.

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
        taps = dict(modules=modules, last=last, logits=logits)
    elif last is not None or logits is not None:
        raise InputError('last and logits go with modules; without modules all are proposed')
    config = Config(variant_head(variant))
    config.merge_from_dict(head)
    distiller = SelfDistiller(
        model,
        taps,
        head=config.to_dict(),
        neck=dict(type='mmmuse.SelfDistillNeck'),
        input_shape=input_shape,
    )
    return distiller.train()
