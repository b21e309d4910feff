"""Write a checkpoint as versions before the two weights (commit 796cc90) did.

``python tests/test_checkpoints/old_checkpoint.py NEW.pth OLD.pth`` renames the parameters beside
the student's; everything else in the file was the same then.
"""

import re
import sys
from pathlib import Path

import torch

from mmmuse.checkpoints.state_dicts import join_averages

# Which losses between two networks stood below an adapter named "discrepancy".
_ADAPTED = r'(?=mi_critics|si_critics|mi_estimators|si_estimators|regressors|raw_variances)'
OLD_NAMES = (
    (r'^muse\.', 'head.'),
    (r'^adapters\.branches\.', 'neck.bottlenecks.'),
    (r'^adapters\.', 'neck.'),
    (rf'^(losses\.\d+\.|transfers\.\w+\.\w+\.\d+\.){_ADAPTED}', r'\1discrepancy.'),
)


def with_old_names(weights: dict) -> dict:
    """Return the weights of a distiller under the names of then."""
    renamed = {}
    for name, value in weights.items():
        for pattern, old in OLD_NAMES:
            name = re.sub(pattern, old, name)
        renamed[name] = value
    return renamed


def write_old_checkpoint(source: Path, target: Path) -> None:
    """Write the content of a checkpoint of today, with the names of then, into another file."""
    content = torch.load(source, map_location='cpu', weights_only=False)
    content['distiller'] = with_old_names(content['distiller'])
    if 'ema_state_dict' in content:
        averages = join_averages(content['ema_state_dict'], content.pop('distiller_ema'))
        plain = {name.removeprefix('module.'): v for name, v in averages.items()}
        restored = ('' if name == 'steps' else 'module.' for name in plain)
        content['ema_state_dict'] = {
            prefix + name: value
            for prefix, (name, value) in zip(restored, with_old_names(plain).items())
        }
    torch.save(content, target)


if __name__ == '__main__':
    write_old_checkpoint(*map(Path, sys.argv[1:]))
