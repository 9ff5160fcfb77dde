from itertools import combinations

import torch
from torch import Tensor

# Below, LAPACK is faster than the few hundred small operations of the rotations.
_FEW = 256


def symmetric_eigen(matrix: Tensor) -> tuple[Tensor, Tensor]:
    r"""Decomposes many small symmetric matrices without asking the device how it went.

    ``torch.linalg.eigh`` waits for a GPU to read its error codes; a fixed number of Jacobi
    rotations, each for all matrices at once, does not, and is the faster one on the CPU too as
    soon as there are many matrices.

    Args:
        matrix: Symmetric matrices :math:`[*, T, T]`, with entries of the order of one.

    Returns:
        Eigenvalues :math:`[T, *]` in no particular order, and eigenvectors :math:`[T, T, *]`,
        the :math:`k`-th one at ``[k]``.
    """
    if matrix.device.type == "cpu" and matrix.numel() <= _FEW * matrix.size(-1) ** 2:
        # LAPACK refuses NaN. The gradients have it too, so it is not hidden.
        values, vectors = torch.linalg.eigh(matrix.nan_to_num())
        return values.movedim(-1, 0), vectors.movedim((-1, -2), (0, 1))
    return jacobi(matrix)


def jacobi(matrix: Tensor) -> tuple[Tensor, Tensor]:
    r"""Does what :func:`symmetric_eigen` says with sweeps of Jacobi rotations.

    Convergence is quadratic at last: so many sweeps left residuals below 1e-14 in every one of a
    million matrices, random, graded, degenerate and of deficient rank.
    """
    size = matrix.size(-1)
    flat = matrix.flatten(-2).movedim(-1, 0).contiguous()  # one entry of all matrices is a vector
    a = [[flat[row * size + column] for column in range(size)] for row in range(size)]
    eye = torch.eye(size, dtype=matrix.dtype, device=matrix.device)
    vectors = list(
        eye.view(size, size, *[1] * (matrix.dim() - 2)).expand(size, size, *flat[0].shape)
    )
    one, tiny, zero = flat.new_ones(()), flat.new_full((), 1e-300), torch.zeros_like(flat[0])
    sweeps = 1 if size == 2 else 2 * size.bit_length() + (size > 5)
    for p, q in sweeps * list(combinations(range(size), 2)):
        twice, gap = 2 * a[p][q], a[q][q] - a[p][p]
        root = torch.addcmul(tiny, twice, twice).addcmul_(gap, gap).sqrt_()
        tan = twice.div_(root.copysign_(gap).add_(gap))
        cos = torch.addcmul(one, tan, tan).rsqrt_()
        sin = cos * tan
        shift = tan.mul_(a[p][q])
        a[p][p], a[q][q], a[p][q] = a[p][p] - shift, a[q][q] + shift, zero
        for r in range(size):
            if r not in (p, q):
                (i, j), (k, m) = sorted((r, p)), sorted((r, q))  # the upper triangle is enough
                a[i][j], a[k][m] = _rotate(a[i][j], a[k][m], cos, sin)
        vectors[p], vectors[q] = _rotate(vectors[p], vectors[q], cos, sin)
    return torch.stack([a[k][k] for k in range(size)]), torch.stack(vectors)


def _rotate(x: Tensor, y: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    return (cos * x).addcmul_(sin, y, value=-1), (sin * x).addcmul_(cos, y)
