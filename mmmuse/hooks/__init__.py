from .channels_last import ChannelsLastHook
from .checked_checkpoint import CheckedCheckpointHook
from .class_count import ClassCountHook
from .information_logger import InformationLoggerHook
from .peer_checkpoint import PeerCheckpointHook
from .student_checkpoint import StudentCheckpointHook
from .training_labels import TrainingLabelsHook

__all__ = [
    'ChannelsLastHook',
    'CheckedCheckpointHook',
    'ClassCountHook',
    'InformationLoggerHook',
    'PeerCheckpointHook',
    'StudentCheckpointHook',
    'TrainingLabelsHook',
]
