from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from mmmuse.errors import InputError
from mmmuse.tapping.features import DistillFeatures, FeatureSpec, NetworkSpecs

from .peers import mean_logits
from .teacher import Teacher


class TeacherGroup:
    """Several teachers of one student; not an ``nn.Module``.

    Args:
        teachers: By name.
    """

    needs_labels = False

    def __init__(self, teachers: Mapping[str, Teacher]) -> None:
        self.teachers = dict(teachers)

    def __call__(
        self, inputs: Tensor, data_samples: list | None = None
    ) -> dict[str, DistillFeatures]:
        """Return each teacher's features of the student's images ``(N, C, H, W)``, by name."""
        return {name: teacher(inputs, data_samples) for name, teacher in self.teachers.items()}

    def convert(self, fn: Callable[[Tensor], Tensor]) -> None:
        """Apply a conversion of ``nn.Module._apply``, such as ``.to()``, to every tensor."""
        for teacher in self.teachers.values():
            teacher.convert(fn)


class TeacherEnsemble(TeacherGroup):
    """Several teachers that teach as one: the mean of their logits.

    Args:
        teachers: By name; each with logits of the same classes.

    Attributes:
        specs: Shapes of the mean.

    Raises:
        InputError: If one has no logits, or their classes or the kinds of their logits differ.
    """

    def __init__(self, teachers: Mapping[str, Teacher]) -> None:
        super().__init__(teachers)
        for name, teacher in self.teachers.items():
            if teacher.specs.logits is None:
                why = teacher.specs.no_logits or 'set its taps.logits'
                raise InputError(f"ensemble='logits' needs class logits of teacher {name}: {why}")
        found = [teacher.specs for teacher in self.teachers.values()]
        first = found[0]
        for name, specs in zip(self.teachers, found, strict=True):
            if specs.num_classes != first.num_classes:
                counts = ', '.join(
                    f'{each} {teacher.specs.num_classes}' for each, teacher in self.teachers.items()
                )
                raise InputError(
                    f"ensemble='logits' is the mean over teachers of the same classes, and they "
                    f'differ: {counts}'
                )
            of_pixels = (specs.logits.grid is None) != (first.logits.grid is None)
            if specs.kind != first.kind or of_pixels:
                raise InputError(
                    f"ensemble='logits': the logits of teacher {name} are of another kind than those of "
                    'the first one (of pixels, or of classes that do not exclude each other)'
                )
        logits = FeatureSpec(first.num_classes, first.logits.grid)
        self.specs = NetworkSpecs(logits=logits, taps='teacher', kind=first.kind, image=first.image)

    @torch.no_grad()
    def __call__(self, inputs: Tensor, data_samples: list | None = None) -> DistillFeatures:
        """Return the mean of the teachers' logits, ``(N, K)`` or ``(N, K, h, w)``."""
        found = super().__call__(inputs, data_samples)
        return DistillFeatures(logits=mean_logits(list(found.values())))
