# What mmseg's own configs lack for a student with exits: its checkpoint and log, and the mIoU of each exit.
exit_hooks = dict(
    student_checkpoint=dict(type='mmmuse.StudentCheckpointHook'),
    information=dict(type='mmmuse.InformationLoggerHook'),
)
exit_evaluator = dict(
    type='mmmuse.ExitSegmentationMetric', metric=dict(type='IoUMetric', iou_metrics=['mIoU'])
)
