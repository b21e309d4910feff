from .channels_last import ChannelsLastHook
from .information_logger import InformationLoggerHook
from .student_checkpoint import StudentCheckpointHook

__all__ = ['ChannelsLastHook', 'InformationLoggerHook', 'StudentCheckpointHook']
