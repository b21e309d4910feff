"""ONNX, ``torch.export`` and int8 forms of a network, each as a file and as a function."""

from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from .onnx_modules import Logits, add_suppression
from .program import INPUT, Program, check_programs_supported, import_onnx, to_onnx

__all__ = [
    'Program',
    'check_programs_supported',
    'import_onnx',
    'onnx_function',
    'save_int8',
    'save_onnx',
    'save_program',
]

Function = Callable[[Tensor], Any]


def save_program(program: Program, path: Path) -> Function:
    """Write a program (``.pt2``), read it again, and return it as a function.

    Raises:
        InputError: If the network's code is specific to one batch size.
    """
    torch.export.save(program.exported, path)
    return torch.export.load(path).module()


def save_onnx(
    program: Program,
    path: Path,
    metadata: dict[str, str],
    outputs: tuple[str, ...] = Logits.outputs,
    nms: dict | None = None,
) -> Function:
    """Write a program as ONNX and return a function that runs the file with onnxruntime.

    Args:
        program: The module and its images.
        path: The file.
        metadata: Kept in the file: normalization, class names, ...
        outputs: Names of the program's outputs.
        nms: Of a detector: ``test_cfg`` of its head, to suppress boxes inside the file.

    Raises:
        InputError: If the packages for ONNX are not installed, or the network's code is specific to
            one batch size.
    """
    onnx, _ = import_onnx()
    model = to_onnx(program, outputs)
    if nms is not None:
        add_suppression(model, nms)
    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return onnx_function(path)


def save_int8(onnx_path: Path, path: Path, batches: Iterable[Tensor]) -> Function:
    """Write a statically quantized int8 form of an ONNX file (QDQ, weights per channel).

    Args:
        onnx_path: The float32 network.
        path: The file to write.
        batches: Normalized training images ``(N, C, H, W)``, at least one, to calibrate the
            ranges of the activations.
    """
    import_onnx()
    from onnxruntime.quantization import CalibrationDataReader, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    inputs = iter([{INPUT: batch.numpy()} for batch in batches])

    class Reader(CalibrationDataReader):
        def get_next(self) -> dict | None:
            return next(inputs, None)

    with TemporaryDirectory() as folder:
        prepared = Path(folder) / 'prepared.onnx'
        quant_pre_process(onnx_path, prepared, skip_symbolic_shape=True)
        quantize_static(prepared, path, Reader(), per_channel=True)
    return onnx_function(path)


def onnx_function(path: Path) -> Function:
    """Return a function that runs an ONNX file on the CPU: a tensor, or a tuple of several."""
    _, onnxruntime = import_onnx()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])

    def run(images: Tensor) -> Tensor | tuple[Tensor, ...]:
        outputs = session.run(None, {INPUT: images.numpy()})
        tensors = tuple(map(torch.from_numpy, outputs))
        return tensors if len(tensors) > 1 else tensors[0]

    return run
