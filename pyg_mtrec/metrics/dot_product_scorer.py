import torch
from torch import Tensor

from pyg_mtrec._errors import InputError


class DotProductScorer:
    r"""Scores by the inner product of representations.

    .. math::
        s_{ui} = \langle \mathbf{x}_u, \mathbf{x}_i \rangle

    Args:
        user_x: User representations of shape :math:`[U, d]`.
        item_x: Item representations of shape :math:`[I, d]`.

    Raises:
        InputError: If the two are not matrices of equal width.

    Example:
        >>> import torch
        >>> from pyg_mtrec.metrics import DotProductScorer
        >>> scorer = DotProductScorer(torch.tensor([[1.0, 2.0]]), torch.eye(2))
        >>> scorer.score(torch.tensor([0]))
        tensor([[1., 2.]])
    """

    def __init__(self, user_x: Tensor, item_x: Tensor) -> None:
        if user_x.dim() != 2 or item_x.dim() != 2 or user_x.size(1) != item_x.size(1):
            raise InputError(
                "'user_x' and 'item_x' need to be matrices of equal width in 'DotProductScorer' "
                f"(got {list(user_x.shape)} and {list(item_x.shape)})"
            )
        self.user_x = user_x.detach()
        self.item_x = item_x.detach()

    @property
    def num_items(self) -> int:
        r"""The size of the catalogue."""
        return self.item_x.size(0)

    @torch.no_grad()
    def score(self, user_ids: Tensor) -> Tensor:
        r"""Scores all items for some users.

        Args:
            user_ids: Users of shape :math:`[b]`.

        Returns:
            Scores of shape :math:`[b, I]`.
        """
        user_x = self.user_x.index_select(0, user_ids.to(self.user_x.device))  # [b, d]
        return user_x @ self.item_x.t()  # [b, I]

    def __repr__(self) -> str:
        return (
            f"{self.__class__.__name__}(num_users={self.user_x.size(0)}, "
            f"num_items={self.num_items}, dim={self.item_x.size(1)})"
        )
