from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Annotated

import torch
from mmengine.model import ModuleList
from torch import Tensor, nn

from mmmuse.arguments import (
    Fraction,
    ImageShape,
    NonNegativeFloat,
    Paths,
    PositiveFloat,
    Range,
    check_keys,
)
from mmmuse.errors import InputError
from mmmuse.functional import global_view, sigmoid_ramp
from mmmuse.functional.precision import at_least_float32
from mmmuse.registry import MODELS
from mmmuse.tapping.dry_run import dry_run, frozen_in_eval
from mmmuse.tapping.features import DistillFeatures, Step
from mmmuse.tapping.path_hooks import resolve_module, resolve_tap
from mmmuse.tapping.progress import training_progress

from .base import build_student
from .logits_distiller import LogitsDistiller, classifier_losses


@MODELS.register_module()
class ONEDistiller(LogitsDistiller):
    r"""ONE: branches that share the network's lower part are taught by their gated mix.

    .. math::
        z_e = \sum_{b=1}^{B} g_b\, z_b, \quad
        L = CE(z_e) + \sum_b \Big[ CE(z_b) + w\, r(t)\, \tau^2\,
            \mathrm{KL}\big(\mathrm{softmax}(z_e / \tau) \,\|\,
            \mathrm{softmax}(z_b / \tau)\big) \Big]

    Branch 1 is the student. The others are copies of its tail, with weights and a
    classifier of their own, on the same shared feature; a gate on that feature
    (mean over locations, linear, norm, ReLU, softmax) gives g. The mix is a fixed
    target of the KL, which is assumed; the ramp r is
    :func:`mmmuse.functional.sigmoid_ramp`. Only the student predicts.

    The branches start from weights of their own. Of a student that is given as a
    config, they are those of another student built and initialised from it: equal to the
    student's where its ``init_cfg`` loads a file. Of a built model, its modules are copied
    and what has ``reset_parameters`` is reset.

    Args:
        student: Config of an mmpretrain classifier, or the built model.
        *args: Those of :class:`SelfDistiller`; ``taps.logits`` is needed.
        branch: ``dict(after=..., modules=[...])``: path of the module that puts
            out the shared feature, and of all modules between it and the
            classifier, in the order in which the student runs them.
        num_branches: B, the student included.
        temperature: :math:`\tau > 0`.
        kd_weight: w.
        ramp: Part of the training over which the KL is ramped up; 0 for none.
            The paper ramps up over 80 epochs; MUSE trains 200, so 0.4. Outside
            of MMEngine's runner there is no ramp.
        input_shape: ``(C, H, W)`` of the dry run.
        data_preprocessor: For the student, if its config has none.
        **kwargs: Those of :class:`SelfDistiller`.

    Raises:
        InputError: If ``branch`` is not the student's own tail (a dry run
            compares the two), or a number is out of its range.

    Source: "Knowledge Distillation by On-the-Fly Native Ensemble" (Lan, Zhu and
    Gong, NeurIPS 2018), section 3; the gate and the ramp's shape are those of its
    public code.
    """

    def __init__(
        self,
        student: dict | nn.Module,
        *args,
        branch: dict,
        num_branches: Annotated[int, Range(least=2, most=1000)] = 3,
        temperature: PositiveFloat = 3.0,
        kd_weight: NonNegativeFloat = 1.0,
        ramp: Fraction = 0.4,
        input_shape: ImageShape | None = None,
        data_preprocessor: dict | None = None,
        **kwargs,
    ) -> None:
        after, modules = _read_branch(branch)
        tails = fresh_tails(student, modules, num_branches - 1, data_preprocessor)
        super().__init__(
            student,
            *args,
            input_shape=input_shape,
            data_preprocessor=data_preprocessor,
            extra_taps=[after],
            **kwargs,
        )
        channels = self._check_tail(modules, input_shape)
        self.ramp = ramp
        self.kd = self.build_kd(temperature, kd_weight)
        # Plain lists: a runner's init_weights() leaves the tails as they have been initialised.
        self.branches = nn.ModuleList(tails)
        self.classifiers = ModuleList(self.build_classifier(channels) for _ in tails)
        self.gate = BranchGate(self.tap_specs[after].channels, num_branches)
        for part in (self.branches, self.classifiers, self.gate):
            part.to(next(self.student.parameters()))

    def _check_tail(self, modules: Sequence[str], input_shape: Sequence[int] | None) -> int:
        """Compare the tail's output with what the student classifies; return its channels."""
        tail = nn.Sequential(*(resolve_module(self.student, path) for path in modules))
        (after,), logits = self.tapped.extra, self.tap_paths.logits

        def observe(forward: Callable[[], object], shape: tuple[int, ...]) -> tuple[Tensor, ...]:
            # A blank image could give zeros everywhere, whatever the tail is.
            parameter = next(self.student.parameters())
            image = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
            with self.tapped:
                self.student(image.to(parameter), mode='tensor')
                return self.taps.pop()[after], classified.pop()

        classified: list[Tensor] = []
        handle = resolve_tap(self.student, logits).register_forward_pre_hook(
            lambda _, args: classified.append(_last_tensor(args[0]))
        )
        try:
            shared, expected = dry_run(self.student, observe, input_shape, mode='tensor')
        finally:
            handle.remove()
        found = _run_in_eval(tail, shared)
        if found is None or found.shape != expected.shape or not _close(found, expected):
            raise InputError(
                f'branch: {", ".join(modules)} after {after} do not return the input of {logits!r}'
                '; name every module between the two, in the order of the forward'
            )
        return global_view(found).shape[1]

    @property
    def min_batch_size(self) -> int:
        """Images that the losses need in a batch: two, for the gate's batch norm."""
        return max(2, super().min_batch_size)

    def own_losses(self, features: DistillFeatures, data_samples: list) -> dict[str, Tensor]:
        """Return ``branch{b}.loss_ce`` from b = 2, ``mix.loss_ce`` and ``branch{b}.loss_kd`` from 1."""
        (shared,) = features.extra.values()
        logits = [features.logits, *self._branch_logits(shared)]
        mix = mixed_logits(logits, self.gate(shared))
        losses = classifier_losses('mix', self.classifiers[0], mix, data_samples)
        for b, (classifier, own) in enumerate(zip(self.classifiers, logits[1:], strict=True), 2):
            losses.update(classifier_losses(f'branch{b}', classifier, own, data_samples))
        ramp = sigmoid_ramp(training_progress() / self.ramp) if self.ramp else 1.0
        for b, own in enumerate(logits, 1):
            step = Step(DistillFeatures(logits=own), DistillFeatures(logits=mix))
            losses[f'branch{b}.loss_kd'] = ramp * self.kd(step)['loss_kd']
        return losses

    def _branch_logits(self, shared: Tensor) -> list[Tensor]:
        return [
            classifier((global_view(tail(shared)),))
            for tail, classifier in zip(self.branches, self.classifiers, strict=True)
        ]


class BranchGate(nn.Module):
    """Weigh the branches by the feature that they share.

    Args:
        in_channels: C of the shared feature.
        num_branches: B.
    """

    def __init__(self, in_channels: int, num_branches: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_channels, num_branches)
        self.norm = nn.BatchNorm1d(num_branches)

    def forward(self, feature: Tensor) -> Tensor:
        """Return weights ``(N, B)`` that sum to 1, in float32 at least."""
        scores = self.norm(self.linear(global_view(feature))).relu()
        return at_least_float32(scores).softmax(-1)


def mixed_logits(logits: Sequence[Tensor], weights: Tensor) -> Tensor:
    """Return the weighted sum ``(N, K)`` of B logits ``(N, K)``, by weights ``(N, B)``.

    Example:
        >>> logits = [torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 4.0]])]
        >>> mixed_logits(logits, torch.tensor([[0.75, 0.25]]))
        tensor([[0.7500, 1.0000]])
    """
    stacked = torch.stack([at_least_float32(branch) for branch in logits], 1)
    return (weights[..., None] * stacked).sum(1)


def fresh_tails(
    student: dict | nn.Module,
    modules: Sequence[str],
    number: int,
    data_preprocessor: dict | None = None,
) -> list[nn.Sequential]:
    """Return copies of a student's modules, each with weights of its own, as the student's config initialises them.

    Raises:
        InputError: If there is no such module, or the student is not an OpenMMLab model.
    """
    tails = []
    for _ in range(number):
        other = student
        if isinstance(student, dict):
            other = build_student(deepcopy(student), data_preprocessor)
            # MMEngine would log every parameter of a network of which only the tail is kept.
            other._dump_init_info = lambda *_: None
            other.init_weights()
        tail = nn.Sequential(*(resolve_module(other, path) for path in modules))
        tails.append(tail if other is not student else deepcopy(tail).apply(_reset))
    return tails


def _reset(module: nn.Module) -> None:
    if hasattr(module, 'reset_parameters'):
        module.reset_parameters()


def _read_branch(branch: dict) -> tuple[str, list[str]]:
    if set(branch) != {'after', 'modules'} or isinstance(branch['modules'], str):
        raise InputError(
            'branch is dict(after=..., modules=[...]): the module of the shared feature and those '
            f'after it, got {branch!r}'
        )
    check_keys('branch', branch, {'after': str, 'modules': Paths})
    return branch['after'], list(branch['modules'])


def _last_tensor(features: Tensor | Sequence[Tensor]) -> Tensor:
    return features if isinstance(features, Tensor) else features[-1]


def _run_in_eval(tail: nn.Module, feature: Tensor) -> Tensor | None:
    """Return what the tail makes of a feature; None where it cannot take it."""
    try:
        with frozen_in_eval(tail):
            return tail(feature)
    except (RuntimeError, TypeError, ValueError, AssertionError):
        return None


def _close(first: Tensor, second: Tensor) -> bool:
    return torch.allclose(at_least_float32(first), at_least_float32(second), 1e-3, 1e-5)
