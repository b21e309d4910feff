"""Refuse an environment in which no command can run, before anything is imported or written."""

from importlib.util import find_spec

from mmmuse.errors import InputError

from .imports import import_alone
from .install import install_command
from .libraries import FORK, OPENMMLAB, ORIGINAL, TORCH, TORCHVISION, Installed, installed
from .torch_pair import fitting_torchvision, misfit


def check_environment() -> None:
    """Check that the libraries which every command needs are there and fit.

    Raises:
        InputError: If one is missing or too old, or torchvision is another torch's; the message has
            the command that installs what is needed.
    """
    for state in map(installed, (TORCH, TORCHVISION)):
        if not state.found and state.library is TORCH:
            raise InputError(f'torch is not installed: {install_command("stack")}')
    libraries = [installed(library) for library in OPENMMLAB]
    needed = [state for state in libraries if state.library.needed]
    missing = [state for state in needed if not state.found]
    if len(missing) == len(needed):
        names = ', '.join(state.library.module for state in missing)
        raise InputError(
            f'the OpenMMLab libraries are not installed ({names}): {install_command("stack")}'
        )
    if missing:
        raise InputError(missing_libraries(missing, libraries))
    if not installed(TORCHVISION).found:
        raise InputError(f'torchvision is not installed: {fitting_torchvision()}')
    for state in (installed(TORCH), installed(TORCHVISION), *libraries):
        if state.too_old:
            raise InputError(f'{state.too_old}: {upgrade(state)}')
    fault = misfit()
    if fault is not None and (raised := import_alone('torchvision')) is not None:
        raise InputError(f'{fault} ({raised}): {fitting_torchvision()}')


def check_library(scope: str | None) -> None:
    """Check that mmseg is installed if the config uses it.

    Args:
        scope: The config's ``default_scope``.

    Raises:
        InputError: If it is not; the message has the command that installs it.
    """
    if scope == 'mmseg' and find_spec('mmseg') is None:
        raise InputError(
            f"the config is for mmseg (default_scope = 'mmseg'), which is not installed: "
            f'{library_command("mmseg", "segmentation")}'
        )


def library_command(module: str, extra: str) -> str:
    """Return the command that installs a library of the same kind as those that are there.

    The fork in an environment of OpenMMLab's own releases would replace their NumPy.

    Args:
        module: Name by which the library is imported.
        extra: Of mmmuse, that has the fork.
    """
    kinds = {installed(library).kind for library in OPENMMLAB}
    if FORK in kinds or ORIGINAL not in kinds:
        return install_command(extra)
    (library,) = (each for each in OPENMMLAB if each.module == module)
    return f'pip install {library.to_install(fork=False)}'


def missing_libraries(missing: list[Installed], libraries: list[Installed]) -> str:
    """Return the line for libraries of which only some are installed."""
    fork = any(state.kind == FORK for state in libraries)
    names = ' and '.join(_missing(state) for state in missing)
    wanted = ' '.join(state.library.to_install(fork) for state in missing)
    return f'{names}: pip install {"--force-reinstall --no-deps " * _is_damaged(missing)}{wanted}'


def _is_damaged(missing: list[Installed]) -> bool:
    """Whether a distribution is recorded whose files are gone, which pip takes for installed."""
    return any(state.distributions for state in missing)


def _missing(state: Installed) -> str:
    module = state.library.module
    if not state.distributions:
        return f'{module} is not installed'
    names = ' and '.join(f'{name} {version}' for name, version in state.distributions.items())
    return f'the files of {module} are missing, although {names} is recorded as installed'


def upgrade(state: Installed) -> str:
    """Return the command that upgrades a library within its kind."""
    if state.library is TORCHVISION:
        return fitting_torchvision()
    requirement = state.library.requirement(state.kind == FORK)
    return f'pip install --upgrade "{requirement}"'
