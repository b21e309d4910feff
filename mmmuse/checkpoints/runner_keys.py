"""The top-level keys of a config that MMEngine's runner and the tools read."""

import inspect
from collections.abc import Mapping

from mmengine.registry import RUNNERS
from mmengine.runner import Runner

# Keys that they read besides the runner's arguments.
OTHER_KEYS = {
    'activation_checkpointing',
    'compile',
    'custom_imports',
    'efficient_conv_bn_eval',
    'find_unused_parameters',
    'model_wrapper_cfg',
    'runner_type',
    'sync_bn',
    'tta_model',
    'tta_pipeline',
}


def runner_keys(config: Mapping) -> set[str]:
    """Return the top-level keys that the config's runner reads."""
    runner = Runner
    if 'runner_type' in config:
        runner = RUNNERS.get(config['runner_type']) or Runner
    return (set(inspect.signature(runner).parameters) - {'cfg'}) | OTHER_KEYS
