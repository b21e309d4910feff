"""Weights of a network of another library: from a file, or the reasons why there are none."""

from pathlib import Path

from torch import Tensor

from mmmuse.checkpoints.files import read_file
from mmmuse.checkpoints.regular_file import check_regular_file
from mmmuse.errors import InputError

_FLAG = 'pass --trust-checkpoint or set trust_teacher=True'
_KEYS = ('state_dict', 'model')  # OpenMMLab's and timm's, DeiT's and DINO's.
_MOST = 200  # Letters of a library's message.


def read_weights(path: str, trust: bool = False) -> dict[str, Tensor]:
    """Return the state dict of a file, ``.safetensors`` or one that PyTorch saved.

    Args:
        path: Of the file.
        trust: Read a file that holds more than weights; it may run code.

    Raises:
        InputError: If it is missing or damaged, or has no weights.
    """
    try:
        content = _read(path, trust)
        for key in _KEYS:
            if isinstance(content, dict) and isinstance(content.get(key), dict):
                content = content[key]
        if (
            not isinstance(content, dict)
            or not content
            or not all(isinstance(value, Tensor) for value in content.values())
        ):
            raise InputError(f'{path} has no state dict of tensors')
    except InputError as error:
        raise InputError(f'teacher_checkpoint {path}: {error}') from error
    return {name.removeprefix('module.'): value for name, value in content.items()}


def _read(path: str, trust: bool) -> object:
    if Path(path).suffix != '.safetensors':
        return read_file(path, trust, _FLAG)
    check_regular_file(path, 'checkpoint file')
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f'{path} is truncated or not a checkpoint') from error


def not_loaded(name: str, error: Exception) -> InputError:
    """Return the error for weights that a library could not get.

    Args:
        name: Of the network, with its library.
        error: What the library raised.
    """
    how = 'give a local file as teacher_checkpoint, or run once with access to the hub'
    if isinstance(error, (OSError, ImportError)) or _is_of_the_hub(error):
        return InputError(
            f"{name}: its files are not in the hub's cache and could not be downloaded "
            f'({one_line(error)}); {how}'
        )
    return InputError(f'{name} cannot be built: {one_line(error)}')


def one_line(error: Exception) -> str:
    """Return a library's message in one line, cut after two hundred letters."""
    text = ' '.join(str(error).split()) or type(error).__name__
    return text if len(text) <= _MOST else text[:_MOST].rpartition(' ')[0] + ' ...'


def _is_of_the_hub(error: Exception) -> bool:
    modules = ('huggingface_hub', 'requests', 'httpx', 'urllib')
    return any(kind.__module__.startswith(modules) for kind in type(error).__mro__)
