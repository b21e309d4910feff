"""A training of each segmenter that is resumed ends with the bits of one that was not interrupted."""

import os
import shutil
from pathlib import Path

import pytest
import torch

pytest.importorskip('mmseg')

from mmengine.config import Config
from torch.utils.data import Dataset

from mmmuse.checkpoints.state_dicts import DISTILLER_KEY
from mmmuse.command_line.checkpoint import check_before_loading
from mmmuse.command_line.run import run, train
from mmmuse.registry import DATASETS

from ..test_hooks.test_safe_checkpoint import forget
from .segmenters import EXITS, HEAD, SEGMENTERS, raw_batch, segmenter_config, taps_of


@DATASETS.register_module()
class DrawnSegmenterImages(Dataset):
    """Four images, with noise that is drawn where they are read."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> dict:
        images, samples = raw_batch()
        noise = torch.randint(0, 8, images[0].shape, dtype=torch.uint8)
        image = images[index % 2] // 2 + noise
        return dict(inputs=image, data_samples=samples[index % 2])


def start(name: str, work_dir: Path) -> None:
    """Train two epochs of two steps as ``mmmuse train --resume``."""
    model = dict(
        type='mmmuse.SegmentationSelfDistiller',
        student=segmenter_config(name),
        taps=taps_of(name),
        exit=EXITS[name],
        head=HEAD,
        input_shape=(3, 64, 64),
    )
    loader = dict(
        batch_size=2,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=True),
        dataset=dict(type='mmmuse.DrawnSegmenterImages'),
    )
    config = Config(
        dict(
            model=model,
            default_scope='mmseg',
            train_dataloader=loader,
            train_cfg=dict(by_epoch=True, max_epochs=2),
            optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3)),
            param_scheduler=dict(type='PolyLR', power=0.9, begin=0, end=4, by_epoch=False),
            default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)),
            randomness=dict(seed=0),
            log_level='ERROR',
            launcher='none',
            work_dir=str(work_dir),
            resume=True,
        ),
        filename=__file__,
    )
    os.environ.setdefault('LOCAL_RANK', '0')
    try:
        run(config, train, check_before_loading(config, trust=False))
    finally:
        forget()


def tensors(checkpoint: Path) -> dict[str, torch.Tensor]:
    """Weights of student and distiller, and the optimizer's moments, after four steps."""
    content = torch.load(checkpoint, weights_only=False)
    assert content['meta']['iter'] == 4
    moments = {
        f'{number}.{name}': value
        for number, state in content['optimizer']['state'].items()
        for name, value in state.items()
    }
    return {**content['state_dict'], **content[DISTILLER_KEY], **moments}


@pytest.mark.parametrize('name', SEGMENTERS)
def test_a_resumed_segmenter_ends_with_the_same_bits(tmp_path, name):
    straight, resumed = tmp_path / 'straight', tmp_path / 'resumed'
    start(name, straight)
    resumed.mkdir()
    shutil.copy(straight / 'epoch_1.pth', resumed)
    copied = (resumed / 'epoch_1.pth').stat().st_mtime_ns
    (resumed / 'last_checkpoint').write_text(str(resumed / 'epoch_1.pth'))
    start(name, resumed)
    assert (
        resumed / 'epoch_1.pth'
    ).stat().st_mtime_ns == copied  # It began behind the first epoch.
    found, expected = (tensors(folder / 'epoch_2.pth') for folder in (resumed, straight))
    assert found.keys() == expected.keys()
    assert [key for key, value in expected.items() if not torch.equal(found[key], value)] == []
