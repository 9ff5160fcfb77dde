import torch
from torch import Tensor


class GradBuffer:
    r"""A dense gradient of a table of which only some rows are ever written.

    Only the rows of the last step are cleared, so a step costs what it touched.
    """

    def __init__(self, table: Tensor) -> None:
        self.grad = torch.zeros_like(table, requires_grad=False)
        self._written: Tensor | None = None

    def fits(self, table: Tensor) -> bool:
        r"""Returns whether the table is still where and what it was."""
        return self.grad.device == table.device and self.grad.dtype == table.dtype

    def clear(self) -> Tensor:
        r"""Returns the buffer with all rows zero."""
        if self._written is not None:
            self.grad.index_fill_(0, self._written, 0)
            self._written = None
        return self.grad

    def mark(self, ids: Tensor) -> None:
        r"""Says which rows hold something from now on; ids may repeat."""
        self._written = ids
