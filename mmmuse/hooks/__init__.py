from .accumulated_gradients import AccumulatedGradientsHook
from .backbone_checkpoint import BackboneCheckpointHook
from .channels_last import ChannelsLastHook
from .checked_checkpoint import CheckedCheckpointHook
from .class_count import ClassCountHook
from .information_logger import InformationLoggerHook
from .kept_memory import KeptMemoryHook
from .peer_checkpoint import PeerCheckpointHook
from .pending_evaluation import PendingEvaluationHook
from .preemption import PreemptionHook
from .prototypes import StudentPrototypeHook
from .safe_checkpoint import SafeCheckpointHook
from .spread_repeats import SpreadRepeatsHook
from .step_seed import StepSeedHook
from .student_checkpoint import StudentCheckpointHook
from .student_config import StudentConfigHook
from .training_labels import TrainingLabelsHook

__all__ = [
    'AccumulatedGradientsHook',
    'BackboneCheckpointHook',
    'ChannelsLastHook',
    'CheckedCheckpointHook',
    'ClassCountHook',
    'InformationLoggerHook',
    'KeptMemoryHook',
    'PeerCheckpointHook',
    'PendingEvaluationHook',
    'PreemptionHook',
    'SafeCheckpointHook',
    'SpreadRepeatsHook',
    'StepSeedHook',
    'StudentCheckpointHook',
    'StudentConfigHook',
    'StudentPrototypeHook',
    'TrainingLabelsHook',
]
