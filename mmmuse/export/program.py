"""A module as a program of ``torch.export`` and as a model of ONNX, for batches of any size."""

import inspect
import io
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from mmmuse.environment.install import install_command
from mmmuse.errors import InputError, first_line

from .onnx_modules import DecodedBoxes, Logits, PixelLogits
from .shifted_windows import with_whole_numbers

OPSET = 18  # Of the nodes that add_suppression adds.
INPUT = 'images'

_EXPORT = getattr(getattr(torch, 'export', None), 'export', None)
_HAS_PROGRAMS = _EXPORT is not None and 'strict' in inspect.signature(_EXPORT).parameters  # 2.3
_ONNX_TAKES_PROGRAMS = 'dynamic_shapes' in inspect.signature(torch.onnx.export).parameters  # 2.5


class Program:
    """A module that is exported when a form of it is first needed.

    Args:
        module: Its network in eval mode.
        images: ``(N, C, H, W)``.
    """

    def __init__(self, module: Logits | DecodedBoxes | PixelLogits, images: Tensor) -> None:
        # torch.onnx.export restores the flag of the module itself, also in its network.
        self.module = module.eval()
        # torch.export would treat a batch size of 1 as a constant.
        self.images = images.repeat(2, 1, 1, 1)

    def check(self) -> None:
        """Export the module now, so that a network that cannot be exported is refused before files are written.

        Before PyTorch 2.5 the ONNX form is another one, which is refused when it is written.

        Raises:
            InputError: If the network's code is specific to one batch size.
        """
        if _ONNX_TAKES_PROGRAMS:
            _ = self.exported

    @cached_property
    def exported(self) -> Any:
        """The program of ``torch.export``.

        Raises:
            InputError: If the network's code is specific to one batch size.
        """
        batch = torch.export.Dim('batch', min=1)
        try:
            # Strict tracing is the default before 2.7, and refuses the hooks of a truncated network.
            with with_whole_numbers(self.module):
                return torch.export.export(
                    self.module, (self.images,), dynamic_shapes=({0: batch},), strict=False
                )
        except torch._dynamo.exc.UserError as error:
            raise self._unsupported('torch.export, which the ONNX export uses,', error) from error

    def _unsupported(self, what: str, error: Exception | str) -> InputError:
        return InputError(
            f'{what} does not support {type(self.module.network.backbone).__name__} for batches of '
            f'any size ({error if isinstance(error, str) else first_line(error)}); omit these forms'
        )

    def traced(self, outputs: tuple[str, ...]) -> Any:
        """Return a model of ONNX from the exporter that records one call.

        Raises:
            InputError: If the network's code is specific to one batch size.
        """
        import onnx
        import onnxruntime

        file, axes = io.BytesIO(), {name: {0: 'batch'} for name in (INPUT, *outputs)}
        options = dict(input_names=[INPUT], output_names=list(outputs), dynamic_axes=axes)
        exporter = 'the ONNX export'
        try:
            with torch.no_grad(), with_whole_numbers(self.module):
                torch.onnx.export(self.module, (self.images,), file, opset_version=OPSET, **options)
        except torch.onnx.errors.OnnxExporterError as error:
            raise self._unsupported(exporter, error) from error
        # A size that the recorded call has made a constant shows with another one.
        images = self.images.repeat(2, 1, 1, 1)
        try:
            session = onnxruntime.InferenceSession(
                file.getvalue(), providers=['CPUExecutionProvider']
            )
            sizes = {len(each) for each in session.run(None, {INPUT: images.numpy()})}
        except Exception as error:  # onnxruntime's errors have no common class.
            raise self._unsupported(exporter, error) from error
        if sizes != {len(images)}:
            raise self._unsupported(exporter, f'{len(images)} images give {sizes} outputs')
        return onnx.load_from_string(file.getvalue())


def to_onnx(program: Program, outputs: tuple[str, ...]) -> Any:
    """Return a program as a model of ONNX.

    Args:
        program: The module and its images.
        outputs: Names of the program's outputs.

    Raises:
        InputError: If the network's code is specific to one batch size.
    """
    if not _ONNX_TAKES_PROGRAMS:
        return program.traced(outputs)
    return torch.onnx.export(
        program.exported,
        input_names=[INPUT],
        output_names=outputs,
        dynamic_shapes=({0: torch.export.Dim('batch', min=1)},),
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    ).model_proto


def check_programs_supported() -> None:
    """Check that this version of PyTorch has ``torch.export`` for batches of any size.

    Raises:
        InputError: If it has not.
    """
    if not _HAS_PROGRAMS:
        raise InputError(
            f'--torch-export needs PyTorch 2.3 or later, found {torch.__version__}: use --onnx'
        )


def import_onnx() -> tuple:
    """Return the modules onnx and onnxruntime.

    Raises:
        InputError: If a package that is needed for ONNX is not installed.
    """
    try:
        import onnx
        import onnxruntime

        if _ONNX_TAKES_PROGRAMS:
            import onnxscript  # noqa: F401 - torch.onnx needs it
    except ImportError as error:
        raise InputError(
            f'ONNX needs the package {error.name}: {install_command("export")}'
        ) from error
    return onnx, onnxruntime
