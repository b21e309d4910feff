from .bfloat16_optim_wrapper import BFloat16OptimWrapper
from .bias_warmup_lr import BiasWarmupLR
from .per_group_one_cycle_lr import PerGroupOneCycleLR
from .student_constructor import StudentConstructor
from .three_groups_constructor import ThreeGroupsConstructor

__all__ = [
    'BFloat16OptimWrapper',
    'BiasWarmupLR',
    'PerGroupOneCycleLR',
    'StudentConstructor',
    'ThreeGroupsConstructor',
]
