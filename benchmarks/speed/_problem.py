"""What all libraries of a case get: tensors and numbers in one file."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


@dataclass
class Problem:
    """A case's data, sizes and where it runs.

    Args:
        tensors: Name to tensor.
        sizes: Name to number.
        device: Where the models live.
        threads: Threads of torch.
    """

    tensors: dict[str, Tensor]
    sizes: dict[str, Any] = field(default_factory=dict)
    device: str = "cpu"
    threads: int = 1

    def save(self, path: Path) -> None:
        """Writes tensors and numbers."""
        torch.save(asdict(self), path)

    @classmethod
    def load(cls, path: Path) -> "Problem":
        """Reads them, with the tensors on the device."""
        found = cls(**torch.load(path, weights_only=True))
        found.tensors = {name: x.to(found.device) for name, x in found.tensors.items()}
        return found
