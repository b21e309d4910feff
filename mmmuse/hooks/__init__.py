from .channels_last import ChannelsLastHook
from .class_count import ClassCountHook
from .information_logger import InformationLoggerHook
from .peer_checkpoint import PeerCheckpointHook
from .student_checkpoint import StudentCheckpointHook
from .training_labels import TrainingLabelsHook

__all__ = [
    'ChannelsLastHook',
    'ClassCountHook',
    'InformationLoggerHook',
    'PeerCheckpointHook',
    'StudentCheckpointHook',
    'TrainingLabelsHook',
]
