"""ONNX, ``torch.export`` and int8 forms of a network, each as a file and as a function."""

from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from mmmuse.errors import InputError

Function = Callable[[Tensor], Tensor]
_INPUT, _OUTPUT = 'images', 'logits'


class _Logits(nn.Module):
    """What is exported: normalised images in, logits out."""

    def __init__(self, network: BaseModel) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images, mode='tensor')


def to_program(network: BaseModel, images: Tensor) -> torch.export.ExportedProgram:
    """Export a network with ``torch.export``, for batches of any size.

    Args:
        network: In eval mode.
        images: ``(N, C, H, W)``.

    Raises:
        InputError: If the network's code holds for one batch size alone.
    """
    images = images.repeat(2, 1, 1, 1)  # A batch of one would be taken for a constant.
    batch = torch.export.Dim('batch', min=1)
    try:
        return torch.export.export(_Logits(network), (images,), dynamic_shapes=({0: batch},))
    except torch._dynamo.exc.UserError as error:
        raise InputError(
            f'torch.export, which ONNX goes through, does not take {type(network.backbone).__name__} '
            f'for batches of any size ({str(error).strip().splitlines()[0]}); leave these forms out'
        ) from error


def save_program(program: torch.export.ExportedProgram, path: Path) -> Function:
    """Write a program (``.pt2``), read it again, and return it as a function."""
    torch.export.save(program, path)
    return torch.export.load(path).module()


def save_onnx(
    program: torch.export.ExportedProgram, path: Path, metadata: dict[str, str]
) -> Function:
    """Write a program as ONNX and return onnxruntime's reading of it.

    Args:
        program: From :func:`to_program`.
        path: The file.
        metadata: Kept in the file: normalisation, class names, ...

    Raises:
        InputError: If the packages for ONNX are not installed.
    """
    onnx, _ = import_onnx()
    exported = torch.onnx.export(
        program,
        input_names=[_INPUT],
        output_names=[_OUTPUT],
        dynamic_shapes=({0: torch.export.Dim('batch', min=1)},),
        dynamo=True,
        verbose=False,
    )
    model = exported.model_proto
    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return onnx_function(path)


def save_int8(onnx_path: Path, path: Path, batches: Iterable[Tensor]) -> Function:
    """Write a statically quantised int8 form of an ONNX file (QDQ, weights per channel).

    Args:
        onnx_path: The float32 network.
        path: The file to write.
        batches: Normalised training images ``(N, C, H, W)``, to calibrate the
            ranges of the activations.

    Raises:
        InputError: If there are no images.
    """
    import_onnx()
    from onnxruntime.quantization import CalibrationDataReader, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = iter(batches)
            self.read = 0

        def get_next(self) -> dict | None:
            batch = next(self.batches, None)
            if batch is None:
                return None
            self.read += len(batch)
            return {_INPUT: batch.numpy()}

    reader = Reader()
    with TemporaryDirectory() as folder:
        prepared = Path(folder) / 'prepared.onnx'
        quant_pre_process(onnx_path, prepared, skip_symbolic_shape=True)
        try:
            quantize_static(prepared, path, reader, per_channel=True)
        except ValueError as error:
            if reader.read:
                raise
            raise InputError('there are no training images to calibrate int8 with') from error
    return onnx_function(path)


def onnx_function(path: Path) -> Function:
    """Return an ONNX file as a function of tensors, run by onnxruntime on the CPU."""
    _, onnxruntime = import_onnx()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])

    def run(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run([_OUTPUT], {_INPUT: images.numpy()})[0])

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
            f'ONNX needs the package {error.name}: pip install "mmmuse[export]"'
        ) from error
    return onnx, onnxruntime
