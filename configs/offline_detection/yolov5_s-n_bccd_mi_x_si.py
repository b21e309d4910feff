_base_ = 'yolov5_s-n_bccd_pkd.py'

# The last two stages of the student's backbone, and the deepest level of the teacher's pyramid.
model = dict(losses=[dict(type='mmmuse.MUSELoss', modules=[1, 2], critic=dict(num_locations=64))])
