"""Training steps of torchdistill, for the benchmark that compares them with ours."""

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .device import synchronize

_STAGES = [f'backbone.layer{i}' for i in (1, 2, 3)]
_CHANNELS = (16, 32, 64)  # Of both networks' stages.
_NEGATIVES = 16384


def torchdistill_step(
    loss: str,
    student: nn.Module,
    teacher: nn.Module,
    batch: dict[str, Tensor],
    sgd: dict[str, float],
    device: str,
    num_images: int,
) -> Callable[[Tensor], Tensor]:
    """Return a step from preprocessed images to the weights' update.

    Args:
        loss: ``'KD'``, ``'VID'`` or ``'CRD'``, with the settings of our configs.
        student: Images to logits; has ``backbone.layer1`` to ``backbone.layer3`` of 16, 32 and 64 channels.
        teacher: The same.
        batch: With the labels ``gt_label`` ``(N, )``.
        sgd: Options of the optimizer.
        device: On which it runs.
        num_images: In the memory of CRD.
    """
    logging.disable(logging.INFO)
    from torchdistill.core.distillation import get_distillation_box

    labels = batch['gt_label'].to(device)
    config = {
        'num_epochs': 1,
        'teacher': dict(requires_grad=False, forward_proc='forward_batch_only'),
        'student': dict(forward_proc='forward_batch_only'),
        'optimizer': dict(key='SGD', kwargs=dict(sgd)),
    }
    {'KD': _kd, 'VID': _vid, 'CRD': _crd}[loss](config, num_images)
    place = torch.device(device)
    box = get_distillation_box(
        teacher.to(place), student.to(place), {}, config, place, None, False, 1
    )
    box.teacher_model.to(place).eval()
    box.student_model.to(place).train()
    more = dict(pos_idx=torch.arange(len(labels)), contrast_idx=_drawn(labels, num_images))

    def step(images: Tensor) -> Tensor:
        loss = box.forward_process(images, labels, more)
        box.post_forward_process(loss)
        synchronize(device)
        return loss.detach()

    return step


# Of the student's logits; the name of the loss, its options, its weight, and what feeds it.
_CROSS_ENTROPY = ('CrossEntropyLoss', {}, 1.0)
_OF_LOGITS = dict(
    key='SimpleLossWrapper',
    kwargs=dict(
        input=dict(is_from_teacher=False, module_path='.', io='output'),
        target=dict(uses_label=True),
    ),
)


def _weighted(**terms: tuple[str, dict[str, Any], float]) -> dict[str, Any]:
    """Return the config of a weighted sum of losses."""
    sub_terms = {
        name: dict(
            criterion=dict(key=key, kwargs=options),
            weight=weight,
            **(dict(criterion_wrapper=_OF_LOGITS) if key == _CROSS_ENTROPY[0] else {}),
        )
        for name, (key, options, weight) in terms.items()
    }
    return dict(key='WeightedSumLoss', kwargs=dict(sub_terms=sub_terms))


def _kd(config: dict[str, Any], num_images: int) -> None:
    where = {f'{side}_module_path': '.' for side in ('student', 'teacher')}
    where |= {f'{side}_module_io': 'output' for side in ('student', 'teacher')}
    options = dict(where, temperature=4.0, alpha=0.1, reduction='batchmean')
    config['criterion'] = _weighted(kd=('KDLoss', options, 1.0))


def _vid(config: dict[str, Any], num_images: int) -> None:
    own = [f'student_model.{stage}' for stage in _STAGES]
    regressors = {
        f'regressor{i}': dict(
            io='output',
            path=path,
            kwargs=dict(
                in_channels=channels,
                middle_channels=channels,
                out_channels=channels,
                eps=1e-5,
                init_pred_var=5.0,
            ),
        )
        for i, (path, channels) in enumerate(zip(own, _CHANNELS, strict=True))
    }
    named = [f'regressor_dict.{name}' for name in regressors]
    pairs = {
        path: dict(
            teacher=dict(io='output', path=stage),
            student=dict(io='output', path=path),
            weight=1.0,
        )
        for path, stage in zip(named, _STAGES, strict=True)
    }
    config['teacher']['forward_hook'] = dict(input=[], output=_STAGES)
    config['student'].update(
        auxiliary_model_wrapper=dict(
            key='VariationalDistributor4VID', kwargs=dict(regressors=regressors)
        ),
        forward_hook=dict(input=[], output=[*own, *named]),
    )
    config['criterion'] = _weighted(
        ce=_CROSS_ENTROPY, vid=('VIDLoss', dict(feature_pairs=pairs), 1.0)
    )


def _crd(config: dict[str, Any], num_images: int) -> None:
    linear = dict(in_features=_CHANNELS[-1], out_features=128)
    for side in ('teacher', 'student'):
        config[side].update(
            forward_proc='forward_batch_supp_dict',
            auxiliary_model_wrapper=dict(
                key='Linear4CRD',
                kwargs=dict(input_module_path='model.pool', linear_kwargs=linear),
            ),
            forward_hook=dict(input=['empty'], output=['model.pool', 'normalizer']),
        )
    options = dict(
        student_norm_module_path='normalizer',
        student_empty_module_path='empty',
        teacher_norm_module_path='normalizer',
        input_size=128,
        output_size=num_images,
        num_negative_samples=_NEGATIVES,
        num_samples=num_images,
    )
    config['criterion'] = _weighted(ce=_CROSS_ENTROPY, crd=('CRDLoss', options, 0.8))


def _drawn(labels: Tensor, num_images: int) -> Tensor:
    """Return each image's own place, and those of negatives, ``(N, K + 1)``."""
    drawn = torch.randint(num_images, (len(labels), _NEGATIVES))
    return torch.cat([torch.arange(len(labels))[:, None], drawn], 1)
