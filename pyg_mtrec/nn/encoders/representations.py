from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from pyg_mtrec._errors import InputError


@dataclass
class Representations:
    r"""What an encoder returns: one matrix per node type, and views of single tasks.

    Args:
        x_dict: Node type to representations :math:`[N, d]`, used by every task without a view.
        views: Task name to node type to representations :math:`[N, d']` of that task alone.

    Example:
        >>> import torch
        >>> from pyg_mtrec.nn import Representations
        >>> representations = Representations(
        ...     {"user": torch.eye(2)}, views={"social": {"user": -torch.eye(2)}}
        ... )
        >>> representations.rows("user", torch.tensor([1, 0]))
        tensor([[0., 1.],
                [1., 0.]])
        >>> representations.rows("user", torch.tensor([1]), task="social")
        tensor([[-0., -1.]])
    """

    x_dict: Mapping[str, Tensor]
    views: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)

    def rows(self, node_type: str, index: Tensor, task: str | None = None) -> Tensor:
        r"""Returns the representations of some nodes.

        Args:
            node_type: The node type.
            index: Node ids of any shape :math:`(*)`.
            task: Reads this task's view of the node type if the encoder made one.

        Returns:
            Rows of shape :math:`(*, d)`.

        Raises:
            InputError: If the encoder returned nothing for the node type.
        """
        x = self.matrix(node_type, task)
        # index_select's backward is an index_add, several times faster than advanced indexing's.
        return x.index_select(0, index.reshape(-1)).view(*index.shape, x.size(-1))

    def matrix(self, node_type: str, task: str | None = None) -> Tensor:
        r"""Returns the representations of all nodes.

        Args:
            node_type: The node type.
            task: Reads this task's view of the node type if the encoder made one.

        Returns:
            The matrix :math:`[N, d]`.

        Raises:
            InputError: If the encoder returned nothing for the node type.
        """
        view = self.views.get(task, {}) if task is not None else {}
        x = view.get(node_type, self.x_dict.get(node_type))
        if x is None:
            raise InputError(
                f"no representations of node type '{node_type}' (there are those of"
                f" {', '.join(self.x_dict) or 'none'}): give it a table"
            )
        return x
