import pytest
import torch
from mmengine.model import BaseModel
from torch import nn

from mmmuse.distillers import SelfDistiller
from mmmuse.heads.variants import variant_head
from mmmuse.registry import MODELS
from mmmuse.tapping.class_logits import ClassLogits, find_class_logits
from mmmuse.tapping.proposal import propose_taps

from ..conftest import TAPS, small_classifier_config


def classifier(**head) -> dict:
    config = small_classifier_config()
    return {**config, 'head': dict(num_classes=5, in_channels=64, **head)}


@pytest.mark.parametrize(
    ('head', 'logits'),
    [
        (dict(type='LinearClsHead'), ('head', None)),
        (dict(type='MultiLabelLinearClsHead'), ('head', None)),
        (
            dict(type='ArcFaceClsHead'),
            (
                None,
                'ArcFaceClsHead subtracts a margin from the logits of the right classes in training',
            ),
        ),
        pytest.param(
            dict(type='LinearRegressionHead'),
            (None, 'LinearRegressionHead outputs values and no class logits'),
            marks=pytest.mark.skipif(
                MODELS.get('mmpretrain.LinearRegressionHead') is None,
                reason="mmpretrain's fork: the original has no LinearRegressionHead",
            ),
        ),
    ],
)
def test_class_logits_are_the_output_of_a_head_that_has_them(head, logits):
    proposal = propose_taps(MODELS.build(classifier(**head)))
    assert (proposal.logits, proposal.no_logits) == logits


def test_a_network_without_a_head_has_no_class_logits():
    proposal = propose_taps(MODELS.build({**small_classifier_config(), 'head': None}))
    assert proposal.logits is None
    assert proposal.no_logits == 'ImageClassifier has no head: its output is a feature'


def test_several_outputs_of_a_head_are_no_class_logits():
    tasks = dict(
        a=dict(type='LinearClsHead', num_classes=2), b=dict(type='LinearClsHead', num_classes=3)
    )
    head = dict(type='MultiTaskHead', task_heads=tasks, in_channels=64)
    proposal = propose_taps(MODELS.build({**small_classifier_config(), 'head': head}))
    assert proposal.no_logits == 'MultiTaskHead does not output one tensor (N, K)'


class Plain(BaseModel):
    """A classifier of one's own, whose parts have other names."""

    def __init__(self, *layers: nn.Module):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return self.layers(inputs)


def stages() -> list[nn.Module]:
    return [nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 4, 3, 2, 1), nn.ReLU()]


def test_a_model_without_such_names_has_the_logits_that_it_returns():
    model = Plain(*stages(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    assert propose_taps(model, 2).logits == 'layers'
    assert propose_taps(Plain(*stages()), 2).no_logits == (
        'the output of Plain is not the (N, K) output of a module'
    )


def test_the_logits_of_a_margin_head_are_not_imitated():
    distiller = SelfDistiller(
        classifier(type='ArcFaceClsHead'),
        TAPS,
        head=variant_head('mi_x_si'),
        neck=dict(type='mmmuse.SelfDistillNeck'),
    )
    assert len(distiller.muse.exits) == len(TAPS['modules'])
    assert distiller.muse.kd_weight == 0


def test_a_head_that_did_not_run_has_no_class_logits():
    class Trace:
        calls: dict = {}
        output = torch.zeros(1, 5)

    model = nn.Module()
    model.head = nn.Linear(2, 5)
    assert find_class_logits(model, Trace()) == ClassLogits(
        None, "Module does not run its head in mode='tensor'"
    )
