# What sizes M, L and X of YOLOv5 change in S.
sizes = dict(
    m=dict(
        backbone=dict(deepen_factor=0.67, widen_factor=0.75),
        neck=dict(in_channels=[192, 384, 768], num_csp_blocks=2),
        bbox_head=dict(in_channels=[192, 384, 768]),
    ),
    l=dict(
        backbone=dict(deepen_factor=1.0, widen_factor=1.0),
        neck=dict(in_channels=[256, 512, 1024], num_csp_blocks=3),
        bbox_head=dict(in_channels=[256, 512, 1024]),
    ),
    x=dict(
        backbone=dict(deepen_factor=1.33, widen_factor=1.25),
        neck=dict(in_channels=[320, 640, 1280], num_csp_blocks=4),
        bbox_head=dict(in_channels=[320, 640, 1280]),
    ),
)
