from mmengine.hooks import Hook

from mmmuse.losses import MUSELoss
from mmmuse.registry import HOOKS
from mmmuse.samplers.numbered_batches import NumberedBatches
from mmmuse.samplers.spread_batches import SpreadBatches

from .student_checkpoint import distiller_of


@HOOKS.register_module()
class SpreadRepeatsHook(Hook):
    """Order each training batch so that two views of one image are not next to each other.

    Samplers that repeat images, such as mmpretrain's ``RepeatAugSampler``, return the views of an image
    one after the other. A critic with ``negatives='roll'`` takes the image beside each as another one. It
    would learn to tell two views of one image apart.

    Batches without repeated images keep their order, and so do those of a distiller without ``MUSELoss``
    or of ``CSKDDistiller``, which reads pairs. With ``negatives='all'`` the views of one image are
    still paired: 2 of N - 1 pairs where each image is three times in a batch of N.

    ``mmmuse train`` adds this hook.

    Source: equation 5 of MUSE (Gong et al., BMVC 2021), whose negatives are of another image.
    """

    priority = 'HIGHEST'  # Before StepSeedHook, which replaces the batch sampler too.

    def before_train(self, runner) -> None:
        """Replace the batch sampler of the data loader."""
        distiller = distiller_of(runner)
        loader = getattr(runner.train_loop, 'dataloader', None)
        if (
            distiller is None
            or distiller.reads_batch_order
            or not any(isinstance(part, MUSELoss) for part in distiller.modules())
            or loader is None
            or not NumberedBatches.fit(loader)
            or isinstance(loader.batch_sampler, (NumberedBatches, SpreadBatches))
        ):
            return
        SpreadBatches(loader)
