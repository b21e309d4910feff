from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from mmseg.models.segmentors import EncoderDecoder
from torch import Tensor, nn

from mmmuse.arguments import NonNegativeFloat
from mmmuse.distillers import DenseSelfDistiller
from mmmuse.errors import InputError
from mmmuse.losses import DistillLoss, Edge, build_logits_edge
from mmmuse.registry import MODELS
from mmmuse.tapping.features import DistillFeatures, NetworkSpecs, Step
from mmmuse.tapping.logits_kind import last_decode_head

from .exit_head import check_exit_head, has_plain_loss, head_on_feature
from .exit_inference import predict_with_exits
from .read_maps import read_maps
from .segmentation_exit import SegmentationExit


@MODELS.register_module()
class SegmentationSelfDistiller(DenseSelfDistiller):
    """Self-distillation of a segmenter whose modules have exits: a second decode head each.

    The student is mmseg's own segmenter, and in a checkpoint its weights stand under its own
    names. In ``predict`` mode each data sample gets ``exit1_sem_seg``, ... beside its
    ``pred_sem_seg``. A segmenter without exits needs no more than
    :class:`mmmuse.distillers.SelfDistiller`.

    Args:
        student: Config of one of mmseg's ``EncoderDecoder``, or the built one, which keeps its
            weights.
        taps: See :class:`mmmuse.distillers.SelfDistiller`; ``logits`` is the module whose output
            are the logits of each pixel, ``'decode_head.conv_seg'`` in most segmenters.
        exit: Config of each exit, :class:`SegmentationExit`. By default, the student's own neck
            and decode head on maps; with ``dict(decode_head=dict(type='FCNHead'))`` another
            head on the feature of the exit alone. With a built student the config has to give a head.
        exit_modules: Numbers i of the shallow modules that have an exit, from 1; None for all.
        head: Config of the losses between features, ``mmmuse.MUSEHead`` with
            ``ce_weight=0, kd_weight=0``; None for exits only.
        kd: Config of the loss with which the logits of an exit learn, pixel by pixel, from the
            last ones; by default ``mmmuse.KDLoss``, or ``mmmuse.BinaryKDLoss`` where the
            student's loss has a sigmoid.
        kd_weight: Its factor; 0 leaves it out. The paper has no segmentation.
        **kwargs: Of :class:`mmmuse.distillers.SelfDistiller`.

    Raises:
        InputError: If the student is not a segmenter, its decode head cannot be an exit (a cascade), there is
            no module of that number, or its logits are not tapped although an exit learns from them.

    Source: MUSE (Gong et al., BMVC 2021), section 4.2, for detectors; segmentation is an outlook there.
    """

    def __init__(
        self,
        student: dict | nn.Module,
        taps: dict | str,
        exit: dict | None = None,
        exit_modules: Sequence[int] | None = None,
        head: dict | None = None,
        kd: dict | None = None,
        kd_weight: NonNegativeFloat = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(student, taps, exit, exit_modules, head, **kwargs)
        self.kd_weight = kd_weight
        self.kd = self._build_kd(kd or {})

    def _build_kd(self, kd: dict) -> Edge:
        if not self.kd_weight:
            return Edge()
        logits = self.tapped.specs.logits
        if logits is None:
            raise InputError(
                'exits learn from the last logits, which are not tapped: set taps.logits, '
                "'decode_head.conv_seg' in most segmenters, or kd_weight=0"
            )
        kind = self.tapped.specs.kind
        specs = NetworkSpecs(logits=logits, kind=kind)
        default = 'mmmuse.BinaryKDLoss' if kind == 'labels' else 'mmmuse.KDLoss'
        return build_logits_edge({'type': default, **kd}, specs, deepcopy(specs), 'kd')

    @property
    def distill_losses(self) -> list[DistillLoss]:
        """All losses between two features or logits."""
        return [*super().distill_losses, *self.kd]

    def check_student(self, student: nn.Module, exit: dict) -> None:
        """Refuse what is not a segmenter, or has a decode head that cannot be an exit."""
        if not isinstance(student, EncoderDecoder):
            raise InputError(
                f'an exit needs a segmenter with decode heads, an EncoderDecoder of mmseg; got '
                f'{type(student).__name__}. Without exits take mmmuse.SelfDistiller'
            )
        if 'decode_head' not in exit:
            check_exit_head(student.decode_head)

    def reads_outputs(self, exit: dict) -> bool:
        """Whether an exit has the student's own decode head, which reads maps."""
        return 'decode_head' not in exit

    def build_exit(self, exit: dict, config: dict, path: str) -> SegmentationExit:
        """Build the exit behind a module."""
        exit = {'type': 'mmmuse.SegmentationExit', **exit}
        local = self.tap_specs[path]
        if local.grid is None:
            raise InputError(f'no exit at {path!r}: its output is a vector, not a map')
        if 'decode_head' in exit:
            head = head_on_feature(exit['decode_head'], self.student, config, local.channels)
            built = MODELS.build({**exit, 'decode_head': head, 'local_channels': local.channels})
            of_student = last_decode_head(self.student)
            has_own = config or 'loss_decode' in exit['decode_head']
            if not has_own and has_plain_loss(of_student):
                built.predictor.loss_decode = deepcopy(of_student.loss_decode)
            return built
        if not config:
            raise InputError(
                'the student is built already, so the exit has to say which decode head it has: '
                "exit=dict(decode_head=dict(type='FCNHead'))"
            )
        exit['decode_head'] = deepcopy(config['decode_head'])
        exit.setdefault('neck', deepcopy(config.get('neck')))
        exit = self.with_maps(exit, path)
        read = read_maps(self.student, [self.tap_specs[name] for name in self._outputs])
        missing = range(exit['num_reached'], len(self._outputs))
        if (
            exit['neck'] is None
        ):  # A neck computes also with the maps that its output is not read of.
            exit['unread'] = [i for i, number in enumerate(missing) if number not in read]
        if set(read) <= set(range(exit['num_reached'])):
            raise InputError(
                f'no exit at {path!r}: its decode head reads only maps before that module'
            )
        return MODELS.build(exit)

    def exit_losses(
        self,
        exit: SegmentationExit,
        maps: list[Tensor],
        features: DistillFeatures,
        data_samples: list,
    ) -> dict[str, Tensor]:
        """Return the losses of the exit's head, and that with which it learns from the last logits."""
        logits = exit.logits(maps)
        losses = exit.task_losses(logits, data_samples)
        if self.kd:
            source = DistillFeatures(logits=features.logits.detach())
            step = Step(DistillFeatures(logits=logits), source, data_samples)
            losses.update((name, self.kd_weight * loss) for name, loss in self.kd(step).items())
        return losses

    def predict(self, inputs: Tensor, data_samples: list | None = None) -> list:
        """Return the student's predictions with those of the exits, ``exit1_sem_seg``, ...

        Exits that were never trained or loaded are left out, with a warning.
        """
        if (why := self.added_weights.why_random(self, 'exits')) is not None:
            return self.added_weights.leave_out(
                why, self.student(inputs, data_samples, mode='predict')
            )
        return predict_with_exits(self, inputs, data_samples)

    def all_logits(self, inputs: Tensor, metas: list[dict], encode_decode: Any) -> list[Tensor]:
        """Return the logits of the student and of its exits for one window, in its size.

        Args:
            inputs: Images or a window of them, ``(N, C, H, W)``.
            metas: mmseg's, of N images.
            encode_decode: The student's method.
        """
        with self.tapped:
            logits = encode_decode(inputs, metas)
            size = inputs.shape[2:]
            features = self.collect(size)
        return [
            logits,
            *(
                exit.window_logits(self.maps_of(features, number, size), metas)
                for number, exit in zip(self.exit_modules, self.exits, strict=True)
            ),
        ]
