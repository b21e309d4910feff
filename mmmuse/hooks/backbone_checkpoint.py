from mmmuse.checkpoints.state_dicts import DISTILLER_KEY, with_plain_names
from mmmuse.distillers import BaseDistiller, FeatureDistiller
from mmmuse.registry import HOOKS

from .side_checkpoint import SideCheckpointHook


@HOOKS.register_module()
class BackboneCheckpointHook(SideCheckpointHook):
    """Save the backbone of a ``FeatureDistiller`` in a separate file with each checkpoint.

    ``epoch_3.backbone.pth`` has its weights under the backbone's own names, and nothing else, for
    ``init_cfg=dict(type='Pretrained', checkpoint=...)`` of a backbone. ``epoch_3.pth``, the file to
    resume from, has them as ``backbone.*``, for ``prefix='backbone.'``. It is removed with its
    checkpoint (``max_keep_ckpts``). The hook has no effect on other models. ``mmmuse train`` adds it.
    """

    def names(self, model: BaseDistiller | None) -> list[str]:
        """Return ``['backbone']``."""
        return ['backbone'] if isinstance(model, FeatureDistiller) else []

    def parts(self, model: BaseDistiller, checkpoint: dict) -> dict[str, dict]:
        """Return the backbone's weights."""
        student = checkpoint['state_dict']
        if DISTILLER_KEY not in checkpoint:
            student = with_plain_names(student)
        return dict(backbone=with_plain_names(student, 'backbone.'))
