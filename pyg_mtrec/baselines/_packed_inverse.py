"""The inverse of a symmetric positive definite matrix in half the memory, in place."""

from collections.abc import Callable

import numpy as np
import torch
from scipy.linalg import lapack
from torch import Tensor

_BLOCK_BYTES = 128 * 2**20


class PackedInverse:
    """``A^-1`` of a symmetric ``A [n, n]``, kept as ``n (n + 1) / 2`` doubles.

    LAPACK's rectangular full packed format folds the lower triangle of the trailing half into the
    empty corner of the leading half, so that the factorisation and the inversion run on dense
    blocks and overwrite their input: ``4 n^2`` bytes at the peak, where a square needs twice that.

    With ``half = ceil(n / 2)`` and ``even = 1`` for even ``n``, ``a [half, n + even]`` holds
    ``a[j, even + i] = A[i, j]`` for ``i >= j, j < half`` and
    ``a[q + 1 - even, p] = A[half + q, half + p]`` for ``p <= q``.

    Args:
        size: The size ``n``.
        rows: Returns rows ``start .. stop`` of ``A`` as a dense ``[stop - start, n]`` in float64.
    """

    def __init__(self, size: int, rows: Callable[[int, int], np.ndarray]) -> None:
        self.size = size
        self.half = (size + 1) // 2
        self.even = 1 - size % 2
        packed = np.empty((self.half, size + self.even))
        step = max(1, _BLOCK_BYTES // (8 * max(size, 1)))
        for start in range(0, size, step):
            block = rows(start, min(start + step, size))
            for i, row in enumerate(block, start):
                if i < self.half:
                    packed[i, self.even + i :] = row[i:]
                else:
                    q = i - self.half
                    packed[q + 1 - self.even, : q + 1] = row[self.half : i + 1]
        if size > 0:
            flat = packed.reshape(-1)
            for name in ("dpftrf", "dpftri"):
                out, info = getattr(lapack, name)(size, flat, uplo="L", overwrite_a=1)
                if info != 0:
                    raise np.linalg.LinAlgError(f"'{name}' failed: not positive definite ({info})")
                flat = out
            packed = flat.reshape(packed.shape)
        self.packed = torch.from_numpy(packed)

    def diagonal(self) -> Tensor:
        """Returns the diagonal of the inverse, ``[n]`` in float64."""
        i = torch.arange(self.half)
        q = torch.arange(self.size - self.half)
        return torch.cat([self.packed[i, i + self.even], self.packed[q + 1 - self.even, q]])

    def columns(self, index: Tensor) -> Tensor:
        """Returns columns (by symmetry: rows) of the inverse, ``[n, b]`` in float64."""
        out = torch.empty(self.size, index.numel(), dtype=torch.double)
        low = index < self.half
        place = torch.arange(self.half)

        i = index[low]  # above the diagonal: row i itself, else column i
        row = self.packed.index_select(0, i)[:, self.even :].t()  # [n, l]
        column = self.packed.index_select(1, i + self.even)  # [half, l]
        out[: self.half, low] = torch.where(place.unsqueeze(1) < i, column, row[: self.half])
        out[self.half :, low] = row[self.half :]

        i = index[~low]
        q = i - self.half
        rest = self.size - self.half
        out[: self.half, ~low] = self.packed.index_select(1, i + self.even)
        row = self.packed.index_select(0, q + 1 - self.even)[:, :rest].t()  # [rest, h]
        column = self.packed.index_select(1, q)[1 - self.even : 1 - self.even + rest]
        out[self.half :, ~low] = torch.where(place[:rest].unsqueeze(1) <= q, row, column)
        return out
