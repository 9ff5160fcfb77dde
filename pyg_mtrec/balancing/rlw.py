import torch
from torch import Tensor

from pyg_mtrec.balancing._draws import Draws
from pyg_mtrec.balancing.loss_balancer import LossBalancer


class RLW(LossBalancer):
    r"""Random weights of the losses (`paper <https://arxiv.org/abs/2111.10603>`_).

    In every step, anew and regardless of the losses,

    .. math::
        w = \mathrm{softmax}(z), \qquad z_t \sim \mathcal{N}(0, 1), \qquad G = \sum_t w_t \, G_t .

    All rows of a step get the same mixture. Over many steps it is that of :class:`Mean`, with
    noise: a rule that does not beat this one has learnt nothing from the gradients.

    Args:
        seed: Where the generator starts; it draws on the device of the losses.

    Example:
        >>> import torch
        >>> from pyg_mtrec.balancing import RLW
        >>> rule = RLW(seed=0)
        >>> first, second = (rule.loss_weights(torch.ones(3), epoch=1) for _ in range(2))
        >>> bool(first.sum().isclose(second.sum())), bool((first != second).all())
        (True, True)
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.draws = Draws(seed)

    def loss_weights(self, losses: Tensor, *, epoch: int) -> Tensor:
        r"""Returns the next draw; the weights sum to one."""
        generator = self.draws.generator(losses.device)
        z = torch.randn(losses.shape, generator=generator, dtype=losses.dtype, device=losses.device)
        return z.softmax(dim=0)

    def reset(self) -> None:
        self.draws.reset()
