# How fast the critics learn, and MUSE's share of the gradient: the rows of weights_narrow.py with 10,000 images and a constant
# learning rate of 0.1, 858 steps. mmmuse information WORK_DIR ... --table --step 300 reads the logs.
_base_ = 'weights_narrow.py'

title = 'What the critics have learnt, narrow ResNet-18'

options = {
    'train_dataloader.dataset.indices': 10000,
    'train_cfg.max_epochs': 11,
    'train_cfg.val_interval': 11,
    'param_scheduler.div_factor': 1.0,
    'param_scheduler.final_div_factor': 1.0,
    'default_hooks.checkpoint.interval': 11,
    'default_hooks.logger.interval': 20,
    'default_hooks.information.interval': 20,
}
