"""A detector as an ONNX file: decoding inside, suppression inside or outside."""

from collections.abc import Callable
from pathlib import Path

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from mmmuse.errors import InputError

from .formats import import_onnx

_OPSET = 18
Outputs = tuple[Tensor, ...]


class DecodedBoxes(nn.Module):
    """What is exported: normalised images in, boxes and scores of all anchors out.

    Args:
        detector: Whose head decodes in one piece (``decode``).

    Raises:
        InputError: If its head does not.
    """

    def __init__(self, detector: BaseModel) -> None:
        super().__init__()
        if not hasattr(detector.bbox_head, 'decode'):
            raise InputError(
                f'ONNX needs a head that decodes in one piece, as mmmuse.YOLOv5Head does; '
                f'{type(detector.bbox_head).__name__} does not: leave --onnx out'
            )
        self.detector = detector

    def forward(self, images: Tensor) -> Outputs:
        """Map ``(N, C, H, W)`` to corners ``(N, P, 4)`` and scores ``(N, P, K)``."""
        (logits,) = self.detector(images, mode='tensor')
        return self.detector.bbox_head.decode(logits)


def save_onnx_detector(
    detector: BaseModel,
    shape: tuple[int, int, int],
    path: Path,
    metadata: dict[str, str],
    with_nms: bool = False,
) -> Callable[[Tensor], Outputs]:
    """Write a detector as ONNX, for batches of any size of images of one shape.

    Args:
        detector: In eval mode.
        shape: ``(C, H, W)`` of the padded, normalised images.
        path: The file.
        metadata: Kept in the file: normalisation, class names, ...
        with_nms: Whether the file suppresses boxes by ONNX's own operator, with the thresholds
            of the head's ``test_cfg``; ``max_per_img`` then holds for each class.

    Returns:
        onnxruntime's reading of the file: images to ``boxes (N, P, 4)`` and ``scores
        (N, P, K)``, or with suppression to ``boxes (M, 4)``, ``scores (M, )``, ``labels
        (M, )`` and ``images_of_boxes (M, )``, the image in the batch that each is of.

    Raises:
        InputError: If the head does not decode in one piece, there is no onnx, or the
            suppression of the head is not the plain one.
    """
    onnx, onnxruntime = import_onnx()
    module = DecodedBoxes(detector).eval()
    example = torch.zeros(2, *shape)  # A batch of one would be taken for a constant.
    dynamic = ({0: torch.export.Dim('batch', min=1)},)
    program = torch.export.export(module, (example,), dynamic_shapes=dynamic)
    exported = torch.onnx.export(
        program,
        input_names=['images'],
        output_names=['boxes', 'scores'],
        dynamic_shapes=dynamic,
        opset_version=_OPSET,
        dynamo=True,
        verbose=False,
    )
    model = exported.model_proto
    if with_nms:
        _add_suppression(onnx, model, detector.bbox_head.test_cfg)
    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])
    return lambda images: tuple(
        torch.from_numpy(output) for output in session.run(None, {'images': images.numpy()})
    )


def _add_suppression(onnx: object, model: object, cfg: dict) -> None:
    """Put suppression behind the outputs ``boxes`` and ``scores`` of a model."""
    nms = dict(cfg['nms'])
    if nms.pop('type', 'nms') != 'nms' or set(nms) - {'iou_threshold', 'class_agnostic'}:
        raise InputError(f'ONNX has the plain suppression alone, not {dict(cfg["nms"])}')
    if nms.get('class_agnostic'):
        raise InputError('ONNX suppresses within a class, not class_agnostic')
    graph, helper, types = model.graph, onnx.helper, onnx.TensorProto
    for node in graph.node:
        for i, name in enumerate(node.output):
            if name in ('boxes', 'scores'):
                node.output[i] = f'all_{name}'
        for i, name in enumerate(node.input):
            if name in ('boxes', 'scores'):
                node.input[i] = f'all_{name}'
    del graph.output[:]

    def constant(name: str, kind: int, value: list) -> str:
        graph.initializer.append(helper.make_tensor(name, kind, [len(value)], value))
        return name

    limits = [
        constant('max_per_class', types.INT64, [cfg.get('max_per_img', 300)]),
        constant('iou_threshold', types.FLOAT, [nms['iou_threshold']]),
        constant('score_threshold', types.FLOAT, [cfg.get('score_thr', 0.0)]),
    ]
    columns = {
        name: constant(f'column_of_{name}', types.INT64, [column])
        for column, name in enumerate(('images', 'labels', 'anchors'))
    }
    last = constant('last_axis', types.INT64, [1])
    graph.node.extend(
        [
            helper.make_node('Transpose', ['all_scores'], ['class_scores'], perm=[0, 2, 1]),
            helper.make_node(
                'NonMaxSuppression', ['all_boxes', 'class_scores', *limits], ['chosen']
            ),
            helper.make_node('GatherND', ['class_scores', 'chosen'], ['scores']),
            *(
                helper.make_node('Gather', ['chosen', columns[name]], [f'{name}_column'], axis=1)
                for name in columns
            ),
            helper.make_node('Concat', ['images_column', 'anchors_column'], ['places'], axis=1),
            helper.make_node('GatherND', ['all_boxes', 'places'], ['boxes']),
            helper.make_node('Squeeze', ['images_column', last], ['images_of_boxes']),
            helper.make_node('Squeeze', ['labels_column', last], ['labels']),
        ]
    )
    graph.output.extend(
        [
            helper.make_tensor_value_info('boxes', types.FLOAT, ['M', 4]),
            helper.make_tensor_value_info('scores', types.FLOAT, ['M']),
            helper.make_tensor_value_info('labels', types.INT64, ['M']),
            helper.make_tensor_value_info('images_of_boxes', types.INT64, ['M']),
        ]
    )
