"""Files that are there completely or not at all."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from pyg_mtrec._errors import InputError


def write_atomic(path: Path, write: Callable[[BinaryIO], object]) -> None:
    r"""Writes a file under a temporary name beside ``path``, then renames it.

    Args:
        path: The file to replace.
        write: Writes the content to the open binary file.

    Raises:
        InputError: If the file system refuses (full disk, no permission); ``path`` is as before.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_directory(path.parent)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        # torch.save answers a failed write with a RuntimeError of its own
        cause = error if isinstance(error, OSError) else error.__context__
        if isinstance(error, (OSError, RuntimeError)) and isinstance(cause, OSError):
            raise cannot_write(path, cause) from error
        raise


def cannot_write(path: Path, error: OSError) -> InputError:
    r"""Returns the one line for a write that the file system refused."""
    return InputError(
        f"cannot write '{path}' ({error.strerror or error}): free some space or fix the"
        " permissions; what was there before is unchanged"
    )


def remove_leftovers(directory: Path) -> None:
    r"""Removes the temporary files of a process that was killed while it wrote."""
    for temporary in directory.glob(".*.tmp"):
        temporary.unlink(missing_ok=True)


def _sync_directory(directory: Path) -> None:
    if not hasattr(os, "O_DIRECTORY"):  # Windows has no handle of a directory
        return
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
