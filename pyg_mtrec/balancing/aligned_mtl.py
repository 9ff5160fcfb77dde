from typing import Literal

import torch
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.balancing._spectral_balancer import SpectralBalancer, mixed, of_trace_one


class AlignedMTL(SpectralBalancer):
    r"""Makes the gradients orthogonal and equally long (`paper <https://arxiv.org/abs/2305.19000>`_).

    The rule of "Independent Component Alignment for Multi-Task Learning" (Senushkin et al., 2023).
    With the eigenvalues :math:`\lambda_k` and eigenvectors :math:`v_k` of the Gram matrix
    :math:`\Gamma`, the singular values :math:`\sqrt{\lambda_k}` of the matrix of gradients are all
    set to one size:

    .. math::
        w = \frac{\sigma}{T} \, \Gamma^{-1/2} \mathbf{1}
          = \frac{\sigma}{T} \sum_k \frac{\langle v_k, \mathbf{1} \rangle}{\sqrt{\lambda_k}}
            \, v_k , \qquad G = \sum_t w_t \, g_t

    A row receives the mean of gradients turned as little as makes them orthogonal, at the common
    length :math:`\sigma`: neither conflict nor dominance is left. With ``scale_mode="min"`` one
    weak direction makes the whole step short.

    Directions :math:`k` with :math:`\lambda_k \leq T \epsilon \lambda_\text{max}`,
    :math:`\epsilon` being the precision of the gradients' type, are left out: tasks without
    gradient, or with parallel ones.

    Args:
        scope: ``"table"``: all shared parameters are one vector, as published; ``"row"``: every
            user and every item is one, see :class:`GramBalancer`.
        scale_mode: :math:`\sigma^2` is the smallest (``"min"``), the lower median (``"median"``)
            or the mean (``"rmse"``) of the eigenvalues that are left.

    Raises:
        InputError: If an argument is none of its choices.

    Example:
        >>> import torch
        >>> from pyg_mtrec.balancing import AlignedMTL
        >>> grads = torch.tensor([[[100.0, 0.0]], [[0.0, 1.0]]])
        >>> AlignedMTL()(grads)
        tensor([[0.5000, 0.5000]])
    """

    def __init__(
        self,
        scope: Literal["table", "row"] = "table",
        scale_mode: Literal["min", "median", "rmse"] = "min",
    ) -> None:
        super().__init__(scope)
        if scale_mode not in ("min", "median", "rmse"):
            raise InputError(
                f"'scale_mode' needs to be 'min', 'median' or 'rmse' in 'AlignedMTL'"
                f" (got {scale_mode!r})"
            )
        self.scale_mode = scale_mode

    def weights(self, gram: Tensor) -> Tensor:
        r"""Returns :math:`w`, or :math:`1 / T` where no task has a gradient."""
        values, live, vectors = self.spectrum(of_trace_one(gram))  # [T, *], [T, *], [T, T, *]
        ratios = self._square(values, live) / values
        lengths = torch.where(live, ratios, 0).sqrt()
        weights = mixed(vectors, lengths * vectors.mean(dim=1))
        return torch.where(live.any(dim=0), weights, 1 / gram.size(-1)).movedim(0, -1)

    def _square(self, values: Tensor, live: Tensor) -> Tensor:
        r"""Returns :math:`\sigma^2`, shape :math:`[*]`."""
        rank = live.sum(dim=0)
        if self.scale_mode == "rmse":
            return torch.where(live, values, 0).sum(dim=0) / rank
        if self.scale_mode == "min":
            return torch.where(live, values, torch.inf).amin(dim=0)
        ascending = torch.where(live, values, -torch.inf).sort(dim=0).values
        lower = len(values) - rank + (rank - 1).div(2, rounding_mode="floor")
        return ascending.gather(0, lower.unsqueeze(0)).squeeze(0)

    def extra_repr(self) -> str:
        r"""Returns scope and scale mode."""
        return f"{super().extra_repr()}, scale_mode={self.scale_mode!r}"
