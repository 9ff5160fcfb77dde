from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class Representations:
    r"""What an encoder returns: one matrix per node type, and views of single tasks.

    Args:
        x_dict: Node type to representations :math:`[N, d]`, used by every task without a view.
        views: Task name to node type to representations :math:`[N, d']` of that task alone.
    """

    x_dict: Mapping[str, Tensor]
    views: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)

    def rows(self, node_type: str, index: Tensor, task: str | None = None) -> Tensor:
        r"""Returns the representations of some nodes.

        Args:
            node_type: The node type.
            index: Node ids of any shape :math:`(*)`.
            task: Reads this task's view if the encoder made one.

        Returns:
            Rows of shape :math:`(*, d)`.
        """
        x_dict = self.views.get(task, self.x_dict) if task is not None else self.x_dict
        return x_dict[node_type][index]
