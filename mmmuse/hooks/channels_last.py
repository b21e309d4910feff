import torch
from mmengine.hooks import Hook

from mmmuse.registry import HOOKS


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Keep the model's weights in the channels-last memory format, on a GPU or a CPU.

    The outputs of convolutions have the same format. In a config:
    ``default_hooks = dict(channels_last=dict(type='mmmuse.ChannelsLastHook'))``.
    """

    priority = 'VERY_HIGH'

    def before_run(self, runner) -> None:
        """Convert the weights."""
        runner.model.to(memory_format=torch.channels_last)
