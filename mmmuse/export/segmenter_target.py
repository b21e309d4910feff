"""A segmenter to export, plain or an exit of a distilled one, and the comparison of masks."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmseg.apis import init_model
from mmseg.structures import SegDataSample
from torch import Tensor
from torch.nn.functional import one_hot

from mmmuse.distillers import SelfDistiller
from mmmuse.errors import InputError
from mmmuse.segmentation.exit_inference import with_attributes

from .data import NormalizedTestSet, common_shape, innermost, padded
from .exit_network import exit_network, exit_network_config, exits_of, num_exits
from .formats import Function
from .onnx_modules import PixelLogits, masks_of
from .target import NUM_CHECKED, ExportTarget, Form, Predict
from .trained import dense_config, load_trained_segmenter

NUM_CALIBRATION = 512  # At most; fewer are asked for by a flag.
TOLERANCE = 1e-3  # Two classes whose logits differ by less may be exchanged by a rounding error.


class SegmenterTarget(ExportTarget):
    """A segmenter; predictions are masks of the images, and are compared in the size of the input."""

    library = 'mmseg'
    onnx_file = 'segmenter.onnx'
    repeats = 10
    field = 'pred_sem_seg'
    columns = {'mIoU': ('mIoU', '.2f')}
    check_key, check_column = 'other_pixels', ('other pixels', '.0f')
    accuracy_key, accuracy_name, class_axis = 'mIoU', 'mIoU', 1
    counted = 'pixels of the '

    def read(self, config: str, checkpoint: str) -> BaseModel:
        return init_model(config, checkpoint, device='cpu')

    def module(self, with_argmax: bool = False) -> PixelLogits:
        if with_argmax and self.window is not None:
            raise InputError(
                '--argmax is for whole images, and the config segments windows, whose logits are '
                'added: --cfg-options model.student.test_cfg.mode=whole, or model.test_cfg.mode'
            )
        return PixelLogits(self.network, with_argmax)

    @property
    def window(self) -> tuple[int, int] | None:
        """Height and width of the windows that the segmenter cuts an image into; None if whole."""
        cfg = self.network.test_cfg
        return tuple(cfg.crop_size) if cfg.get('mode') == 'slide' else None

    def predict(self, run: Function, with_argmax: bool = False) -> Predict:
        encoded = run
        if not isinstance(run, BaseModel):
            # mmseg's inference, with its windows, on the logits of a file.
            logits = self.logits_of(run)
            encoded = with_attributes(
                self.network, encode_decode=lambda images, metas: logits(images)
            )

        @torch.no_grad()
        def predict(batch: dict) -> list:
            size = batch['inputs'].shape[2:]
            samples = [
                SegDataSample(metainfo=_with_padding(each.metainfo, size))
                for each in batch['data_samples']
            ]
            found = encoded.predict(batch['inputs'], samples)
            return [sample.pred_sem_seg for sample in found]

        return predict

    def logits_of(self, run: Function | BaseModel) -> Callable[[Tensor], Tensor]:
        """Return the logits ``(N, K, H, W)`` of a network or a file; classes become 0 and 1."""
        if isinstance(run, BaseModel):
            return PixelLogits(run)

        def logits(images: Tensor) -> Tensor:
            output = run(images)
            if output.ndim == 4:
                return output
            channels = self.network.out_channels
            if channels == 1:  # Before the sigmoid and the threshold.
                return (output[:, None].float() - 0.5) * 100
            return one_hot(output, channels).movedim(-1, 1).float()

        return logits

    def calibration_images(self, shape: tuple | None) -> Iterator[tuple[Tensor, None]]:
        """Return training images as the test pipeline reads them: they have the shape of the file."""
        config = deepcopy(self.config)
        pipeline = innermost(config.test_dataloader.dataset)[0].pipeline
        for each in innermost(config.train_dataloader.dataset):
            each.pipeline = deepcopy(pipeline)
        shape = self._file_shape(shape, evaluates=False)
        # One by one, in order, since they may differ in size.
        for each in NormalizedTestSet(config, self.trained, NUM_CALIBRATION, split='train'):
            images = _corner(each['inputs'], shape)
            yield padded(dict(inputs=images), shape, 0)['inputs'], None

    def _file_shape(self, shape: tuple | None, evaluates: bool) -> tuple[int, ...]:
        """Return the shape of the images of an ONNX file: of all test images, or of a window."""
        if shape is None:
            limit = None if evaluates else NUM_CHECKED
            shape = common_shape(self.test_set(limit=limit))
        if self.window is None:
            return shape
        channels, height, width = shape
        return (channels, min(height, self.window[0]), min(width, self.window[1]))

    def batches_to_check(self, shape: tuple | None, evaluates: bool, calibration: list) -> list:
        shape = self._file_shape(shape, evaluates)
        if self.window is not None:
            batches = self.test_set(limit=NUM_CHECKED)
            return [{**each, 'inputs': _corner(each['inputs'], shape)} for each in batches]
        return list(self.test_set(shape, NUM_CHECKED))

    @torch.no_grad()
    def compare(self, name: str, form: Form, batches: list[dict], exact: bool = True) -> int:
        differ = clear = 0
        for batch in batches:
            expected = self.reference(batch)
            other = masks_of(self.network, self.logits_of(form.run)(batch['inputs']))
            other = other != masks_of(self.network, expected)
            differ += int(other.sum())
            clear += int((other & (_margin(self.network, expected) > TOLERANCE)).sum())
        if exact and clear:
            raise InputError(
                f'verification failed; the export was discarded: {clear} pixels of {len(batches)} images '
                f'have another class in {name} than in the trained network'
            )
        return differ

    def scores(self, metrics: dict | None) -> dict:
        # mmseg's are NumPy's numbers.
        metrics = metrics and {name: float(value) for name, value in metrics.items()}
        return dict(mIoU=(metrics or {}).get('mIoU'), metrics=metrics)


def segmenter_target(
    config: Config, checkpoint: str, number: int | None = None, trust: bool = False
) -> SegmenterTarget:
    """Return a segmenter, or an exit of it; see :func:`load_trained_segmenter`.

    Raises:
        InputError: If the exit does not exist, or the checkpoint is of another network.
    """
    trained = load_trained_segmenter(config, checkpoint, trust)
    model, network, original = dense_config(config, 'mmseg'), trained, trained
    title = 'The segmenter' if number is None else f'Exit {number}'
    if isinstance(trained, SelfDistiller):
        number = num_exits(trained) if number is None else number
        network, original = exit_network(model, trained, number), trained.student
        model = exit_network_config(model, trained, number)
    elif number is not None:
        raise InputError(f'the config has no exits: its model is {config.model.type}')
    network.eval()
    metric = config.get('test_evaluator')
    reference = _reference(trained, number)
    return SegmenterTarget(config, model, network, original, trained, title, reference, metric)


def _reference(trained: BaseModel, number: int | None) -> Callable[[dict], Tensor]:
    """Return the logits of a batch by the network that was trained, in the size of its input."""

    @torch.no_grad()
    def reference(batch: dict) -> Tensor:
        images = batch['inputs']
        if not isinstance(trained, SelfDistiller):
            return PixelLogits(trained)(images)
        metas = [dict(img_shape=torch.Size(images.shape[2:]), ori_shape=images.shape[2:])]
        last, *exits = trained.all_logits(images, metas, trained.student.encode_decode)
        return dict(zip(exits_of(trained), exits, strict=True)).get(number, last)

    return reference


def _with_padding(meta: dict, size: Any) -> dict:
    """Return the metainfo of an image that has been padded, below and on the right, to a size."""
    height, width = meta['img_shape'][:2]
    padding = [0, size[1] - width, 0, size[0] - height]
    known = {key for key in ('img_padding_size', 'padding_size') if key in meta}
    return {**meta, 'pad_shape': tuple(size), **({} if known else {'padding_size': padding})}


def _corner(images: Tensor, shape: Any) -> Tensor:
    return images[..., : shape[1], : shape[2]].contiguous()


def _margin(segmenter: BaseModel, logits: Tensor) -> Tensor:
    """Return how far the logit of each pixel is from another class, ``(N, H, W)``."""
    if logits.shape[1] == 1:
        return (logits[:, 0].sigmoid() - segmenter.decode_head.threshold).abs()
    first, second = logits.topk(2, 1).values.unbind(1)
    return first - second
