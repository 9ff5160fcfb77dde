import torch
from torch import Tensor

from pyg_mtrec.balancing._symmetric_eigen import symmetric_eigen
from pyg_mtrec.balancing.gram_balancer import GramBalancer
from pyg_mtrec.gradients import TaskGradients, Update


class SpectralBalancer(GramBalancer):
    r"""A rule that inverts the Gram matrix, on those of its directions that are not noise.

    Args:
        scope: ``"table"`` or ``"row"``.
    """

    _eps: float = torch.finfo(torch.float64).eps

    def update(self, gradients: TaskGradients, *, epoch: int) -> Update:
        r"""Combines the gradients; eigenvalues that their precision cannot resolve are zero."""
        # The Gram is float64, but no more exact than the gradients: of two parallel float32
        # gradients its smaller eigenvalue is 1e-8 of the larger one, not 1e-16.
        parts = [rows.grads for rows in gradients.rows.values()] + list(gradients.dense.values())
        self._eps = max((torch.finfo(part.dtype).eps for part in parts), default=self._eps)
        try:
            return super().update(gradients, epoch=epoch)
        finally:
            del self._eps

    def tolerance(self, num_tasks: int) -> float:
        r"""Returns the part of the largest number up to which another one is noise."""
        return num_tasks * self._eps

    def spectrum(self, gram: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        r"""Decomposes Gram matrices.

        Args:
            gram: Gram matrices :math:`[*, T, T]` of trace one, or zero.

        Returns:
            Eigenvalues :math:`[T, *]`, which of them are not zero :math:`[T, *]`, and
            eigenvectors :math:`[T, T, *]`, the :math:`k`-th one at ``[k]``.
        """
        values, vectors = symmetric_eigen(gram)
        return values, values > self.tolerance(gram.size(-1)) * values.amax(dim=0), vectors


def of_trace_one(gram: Tensor) -> Tensor:
    r"""Returns Gram matrices divided by their trace; a zero matrix stays zero."""
    trace = gram.diagonal(dim1=-2, dim2=-1).sum(dim=-1)
    return gram / torch.where(trace > 0, trace, 1)[..., None, None]


def mixed(vectors: Tensor, factors: Tensor) -> Tensor:
    r"""Returns :math:`\sum_k f_k v_k`.

    Args:
        vectors: Vectors :math:`[T, T, *]`, the :math:`k`-th one at ``[k]``.
        factors: Their factors :math:`[T, *]`.
    """
    return (vectors * factors.unsqueeze(1)).sum(dim=0)
