from .channels_last import ChannelsLastHook
from .information_logger import InformationLoggerHook
from .student_checkpoint import StudentCheckpointHook
from .training_labels import TrainingLabelsHook

__all__ = [
    'ChannelsLastHook',
    'InformationLoggerHook',
    'StudentCheckpointHook',
    'TrainingLabelsHook',
]
