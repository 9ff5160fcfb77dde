from pathlib import Path
from typing import Any

from pyg_mtrec.runs import _tensors


class Checkpoint:
    r"""The one file from which a killed run goes on, bit for bit.

    It is written under a temporary name, flushed to the disk and renamed, so that a kill at any
    moment leaves either the last checkpoint or the new one.

    Args:
        path: The file, usually ``RUN_DIR/checkpoint.pt``.

    Example:
        >>> import tempfile, torch
        >>> folder = tempfile.TemporaryDirectory()
        >>> checkpoint = Checkpoint(f"{folder.name}/checkpoint.pt")
        >>> checkpoint.load() is None
        True
        >>> checkpoint.save({"epoch": 3, "weight": torch.ones(2)})
        >>> checkpoint.load()
        {'epoch': 3, 'weight': tensor([1., 1.])}
        >>> folder.cleanup()
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def __repr__(self) -> str:
        return f"{type(self).__name__}('{self.path}')"

    def save(self, state: dict[str, Any]) -> None:
        r"""Replaces the checkpoint.

        Args:
            state: Tensors in plain containers (dict, list, tuple) with numbers, strings and
                ``None``; nothing else loads with ``weights_only=True``.

        Raises:
            InputError: If the disk is full or not writable; the last checkpoint is kept.
        """
        _tensors.save(self.path, state)

    def load(self) -> dict[str, Any] | None:
        r"""Reads the checkpoint with all tensors on the CPU.

        Returns:
            What was saved, or ``None`` where nothing has been saved yet.

        Raises:
            InputError: If the file is truncated, damaged or holds other objects.
        """
        return _tensors.load(self.path) if self.path.exists() else None
