"""ONNX, ``torch.export`` and int8 forms of a network, each as a file and as a function."""

from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from mmmuse.environment.install import install_command
from mmmuse.errors import InputError

from .onnx_modules import DecodedBoxes, Logits, add_suppression

Function = Callable[[Tensor], Any]
_OPSET = 18  # Of the nodes that add_suppression adds.
_INPUT = 'images'


def to_program(module: Logits | DecodedBoxes, images: Tensor) -> torch.export.ExportedProgram:
    """Export a module with ``torch.export``, for batches of any size.

    Args:
        module: Its network in eval mode.
        images: ``(N, C, H, W)``.

    Raises:
        InputError: If the network's code is specific to one batch size.
    """
    images = images.repeat(2, 1, 1, 1)  # torch.export would treat a batch size of 1 as a constant.
    batch = torch.export.Dim('batch', min=1)
    try:
        return torch.export.export(module, (images,), dynamic_shapes=({0: batch},))
    except torch._dynamo.exc.UserError as error:
        raise InputError(
            f'torch.export, which the ONNX export uses, does not support '
            f'{type(module.network.backbone).__name__} for batches of any size '
            f'({str(error).strip().splitlines()[0]}); omit these forms'
        ) from error


def save_program(program: torch.export.ExportedProgram, path: Path) -> Function:
    """Write a program (``.pt2``), read it again, and return it as a function."""
    torch.export.save(program, path)
    return torch.export.load(path).module()


def save_onnx(
    program: torch.export.ExportedProgram,
    path: Path,
    metadata: dict[str, str],
    outputs: tuple[str, ...] = Logits.outputs,
    nms: dict | None = None,
) -> Function:
    """Write a program as ONNX and return a function that runs the file with onnxruntime.

    Args:
        program: From :func:`to_program`.
        path: The file.
        metadata: Kept in the file: normalization, class names, ...
        outputs: Names of the program's outputs.
        nms: Of a detector: ``test_cfg`` of its head, to suppress boxes inside the file.

    Raises:
        InputError: If the packages for ONNX are not installed.
    """
    onnx, _ = import_onnx()
    exported = torch.onnx.export(
        program,
        input_names=[_INPUT],
        output_names=outputs,
        dynamic_shapes=({0: torch.export.Dim('batch', min=1)},),
        opset_version=_OPSET,
        dynamo=True,
        verbose=False,
    )
    model = exported.model_proto
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

    inputs = iter([{_INPUT: batch.numpy()} for batch in batches])

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
        outputs = session.run(None, {_INPUT: images.numpy()})
        tensors = tuple(map(torch.from_numpy, outputs))
        return tensors if len(tensors) > 1 else tensors[0]

    return run


def import_onnx() -> tuple:
    """Return the modules onnx and onnxruntime.

    Raises:
        InputError: If a package that is needed for ONNX is not installed.
    """
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401 - torch.onnx needs it
    except ImportError as error:
        raise InputError(
            f'ONNX needs the package {error.name}: {install_command("export")}'
        ) from error
    return onnx, onnxruntime
