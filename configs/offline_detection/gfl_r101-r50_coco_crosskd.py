_base_ = 'gfl_r101-r50_coco_ld.py'

# The student's features after three of the four convolutions of each tower, through the rest of the teacher's head.
model = dict(losses=[dict(type='mmmuse.CrossKDLoss', num_convs=3)])
