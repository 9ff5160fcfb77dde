import torch
from torch import Tensor

from pyg_mtrec.balancing._spectral_balancer import SpectralBalancer, mixed, of_trace_one


class IMTLG(SpectralBalancer):
    r"""Steps equally far along every task (`paper <https://openreview.net/forum?id=IMPnRXEWpvr>`_).

    The gradient part of "Towards Impartial Multi-task Learning" (Liu et al., 2021): weights of sum
    one with which the update has the same projection on the direction of every task's gradient.
    With the Gram matrix :math:`\Gamma` and the norms :math:`n_t = \| g_t \|`,

    .. math::
        v = \Gamma^+ n , \qquad w = \frac{v}{\sum_t v_t} , \qquad G = \sum_t w_t \, g_t

    With two tasks that are not parallel :math:`w = (n_2, n_1) / (n_1 + n_2)`: a row receives the
    mean of the two directions, at the harmonic mean of their lengths. With three or more, weights
    can be negative and, where :math:`\sum_t v_t` is close to zero, large.

    :math:`\Gamma^+` leaves out eigenvalues up to :math:`T \epsilon \lambda_\text{max}`,
    :math:`\epsilon` being the precision of the gradients' type: tasks without gradient get weight
    zero, parallel ones share theirs. Weights are zero where :math:`\sum_t v_t` vanishes.

    Args:
        scope: ``"table"``: all shared parameters are one vector, as published; ``"row"``: every
            user and every item is one, see :class:`GramBalancer`.

    Raises:
        InputError: If ``scope`` is neither of the two.

    Example:
        >>> import torch
        >>> from pyg_mtrec.balancing import IMTLG
        >>> grads = torch.tensor([[[4.0, 0.0]], [[0.0, 1.0]]])
        >>> IMTLG()(grads)
        tensor([[0.8000, 0.8000]])
    """

    def weights(self, gram: Tensor) -> Tensor:
        r"""Returns :math:`w`."""
        gram = of_trace_one(gram)  # the weights do not depend on the common scale
        values, live, vectors = self.spectrum(gram)  # [T, *], [T, *], [T, T, *]
        norms = gram.diagonal(dim1=-2, dim2=-1).clamp(min=0).sqrt().movedim(-1, 0)
        factors = torch.where(live, (vectors * norms).sum(dim=1) / values, 0)
        v = mixed(vectors, factors)
        total = v.sum(dim=0)
        # At trace one, sums are about 1 or more; opposite gradients leave v nothing but noise.
        clear = total.abs() > self.tolerance(len(v)) * v.abs().sum(dim=0).clamp(min=1)
        return torch.where(clear, v / total, 0).movedim(0, -1)
