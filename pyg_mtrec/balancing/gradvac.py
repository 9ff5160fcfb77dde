from typing import Any

import torch
from torch import Tensor

from pyg_mtrec._errors import InputError
from pyg_mtrec.balancing._draws import Draws
from pyg_mtrec.balancing._task_orders import task_orders
from pyg_mtrec.balancing.gram_balancer import GramBalancer

# Rounding of a float32 cosine: what is closer to 1 or to 0 than this cannot be told from it.
_EPS = torch.finfo(torch.float32).eps


class GradVac(GramBalancer):
    r"""Pulls tasks to the angles they usually have (`paper <https://arxiv.org/abs/2010.05874>`_).

    The rule of "Gradient Vaccine" (Wang et al., 2021): :class:`PCGrad` with a target
    :math:`\varphi_{ts}` in place of zero for the cosine of two tasks, an average over the steps
    before. Every task starts from its own gradient :math:`\hat g_t = g_t` and meets the others
    :math:`s \neq t` in random order; with
    :math:`c = \cos(\hat g_t, g_s)`,

    .. math::
        \hat g_t &\leftarrow \hat g_t + \frac{\| \hat g_t \|}{\| g_s \|}
            \frac{\varphi_{ts} \sqrt{1 - c^2} - c \sqrt{1 - \varphi_{ts}^2}}
                 {\sqrt{1 - \varphi_{ts}^2}} \, g_s
            \qquad \text{if } c < \varphi_{ts} \\
        \varphi_{ts} &\leftarrow (1 - \beta) \varphi_{ts} + \beta c , \qquad
        G = \sum_t \hat g_t

    Every row receives the same mixture of its tasks' gradients. Targets start at zero, so that the
    first step is that of :class:`PCGrad`. A pair of which one gradient is zero leaves its target
    as it is.

    All shared parameters are one vector, and there is no ``scope``: targets per row would be
    :math:`T \times T` numbers for every user and item, learnt from the few steps that touch it.

    Args:
        beta: How fast targets follow, :math:`\beta \in [0, 1]`; 0 is :class:`PCGrad`. The paper
            uses 0.01 for long trainings.
        seed: Seed of the order of the tasks.

    Raises:
        InputError: If ``beta`` is out of its range, or the number of tasks changes without
            :meth:`reset`.

    Example:
        >>> import torch
        >>> from pyg_mtrec.balancing import GradVac
        >>> rule = GradVac(beta=0.5)
        >>> rule(torch.tensor([[[1.0, 0.0]], [[3.0, 4.0]]]))
        tensor([[4., 4.]])
        >>> rule.phi[0, 1]  # half of the cosine 0.6
        tensor(0.3000, dtype=torch.float64)
        >>> rule(torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]]))  # now orthogonal is too far apart
        tensor([[1.3145, 1.3145]])
    """

    def __init__(self, beta: float = 0.5, seed: int = 0) -> None:
        super().__init__()
        if not 0 <= beta <= 1:
            raise InputError(f"'beta' needs to be between 0 and 1 in 'GradVac' (got {beta})")
        self.beta = beta
        self.draws = Draws(seed)
        self.phi: Tensor
        self.register_buffer("phi", torch.zeros(0, 0, dtype=torch.float64))

    def weights(self, gram: Tensor) -> Tensor:
        r"""Returns how often each gradient is in the sum, and moves the targets.

        Args:
            gram: One Gram matrix :math:`[T, T]` in float64.

        Returns:
            Weights :math:`[T]`.
        """
        num_tasks = gram.size(-1)
        phi = self._targets(num_tasks).to(gram, copy=True)
        orders = task_orders(num_tasks, self.draws.generator()).t()  # [T - 1, T]
        orders = orders.to(gram.device, non_blocking=True)
        norms = gram.diagonal().clamp(min=0).sqrt()
        inverse = torch.where(norms > 0, norms.reciprocal(), 0)
        cosines = gram * inverse * inverse.unsqueeze(1)
        # In units of its own norm, g^_t is the mixture `parts[t]` of the others' directions.
        parts = torch.eye(num_tasks, dtype=gram.dtype, device=gram.device)
        products = cosines  # <g^_t, g_s>
        tasks = torch.arange(num_tasks, device=gram.device)
        for met in orders:  # every task meets one other
            squares = (products * parts).sum(dim=1)
            # Opposite gradients leave a rounding error behind, which points nowhere.
            live = (squares > _EPS * parts.abs().sum(dim=1).square()) & (norms[met] > 0)
            size = squares.clamp(min=_EPS).sqrt()
            cosine = (products[tasks, met] / size).clamp(-1, 1)
            target = phi[tasks, met]
            tangent = ((1 - cosine.square()) / (1 - target.square()).clamp(min=_EPS)).sqrt()
            part = torch.where(live & (cosine < target), size * (target * tangent - cosine), 0)
            parts[tasks, met] = part
            products = products + part.unsqueeze(1) * cosines[met]
            phi[tasks, met] = torch.where(live, target.lerp(cosine, self.beta), target)
        self.phi = phi
        return (parts * norms.unsqueeze(1) * inverse).sum(dim=0)

    def _targets(self, num_tasks: int) -> Tensor:
        known = self.phi.size(0)
        if not known:
            return self.phi.new_zeros(num_tasks, num_tasks)
        if known != num_tasks:
            raise InputError(
                f"'GradVac' has targets for {known} tasks (got gradients of {num_tasks}):"
                " call 'reset' first"
            )
        return self.phi

    def reset(self) -> None:
        r"""Forgets the targets, and starts the random orders anew from the seed."""
        self.phi = self.phi.new_zeros(0, 0)
        self.draws.reset()

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        saved = state_dict.get(f"{prefix}phi")
        if saved is not None:  # it has the size of the saved tasks, which are not known before
            self.phi = self.phi.new_zeros(saved.shape)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def extra_repr(self) -> str:
        r"""Returns the speed of the targets."""
        return f"beta={self.beta}"
