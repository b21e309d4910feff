from importlib import import_module
from pkgutil import iter_modules

from .build import build_edge, build_logits_edge, build_loss
from .class_labels import class_labels, refuse_mixed_labels, single_labels
from .dense_loss import DenseLoss
from .distill_loss import DistillLoss, Edge, FeatureLoss, add_terms
from .logit_loss import LogitLoss
from .muse_loss import INFORMATION_TERM
from .phases import Span, losses_of_phases

__all__ = [
    'INFORMATION_TERM',
    'DenseLoss',
    'DistillLoss',
    'Edge',
    'FeatureLoss',
    'LogitLoss',
    'Span',
    'add_terms',
    'build_edge',
    'build_logits_edge',
    'build_loss',
    'class_labels',
    'losses_of_phases',
    'refuse_mixed_labels',
    'single_labels',
]

# A new loss is one file: its class is registered, and offered here, by being in this folder.
for _module in iter_modules(__path__):
    for _name, _value in vars(import_module(f'.{_module.name}', __name__)).items():
        if isinstance(_value, type) and issubclass(_value, DistillLoss):
            globals()[_name] = _value
