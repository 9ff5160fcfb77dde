from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from pyg_mtrec.loader import Batch, Sampler
from pyg_mtrec.nn.encoders import Representations
from pyg_mtrec.tasks._as_batch import as_batch


class Task(nn.Module, ABC):
    r"""One kind of supervision: how its batches are made, and what they cost.

    A task's loss is :math:`\frac{1}{B} \sum_b w_b \ell_b` with the nominal batch size :math:`B`, so
    a short last batch does not change the scale of gradients, and rows of weight 0 change nothing.
    Parameters of a task are its own: no other task trains them.

    Args:
        edge_type: The relation ``(source, name, destination)`` that supervises.
        view: Name of the representations' view that the task reads (default: the common ones).

    Example:
        >>> import torch
        >>> from pyg_mtrec.loader import Batch, EdgeSampler
        >>> from pyg_mtrec.nn import Representations
        >>> from pyg_mtrec.tasks import Task
        >>> class Length(Task):
        ...     def sampler(self, data, generator):
        ...         return EdgeSampler(data, self.edge_type, generator, num_negatives=0)
        ...     def forward(self, batch, representations):
        ...         rows = representations.rows("user", batch.src_index, task=self.view)
        ...         return rows.square().sum() / batch.size
        >>> task = Length(("user", "likes", "item"))
        >>> batch = Batch(task.edge_type, 2, torch.tensor([0]), torch.tensor([0]))
        >>> task(batch, Representations({"user": torch.tensor([[3.0, 4.0]])}))
        tensor(12.5000)
    """

    def __init__(self, edge_type: EdgeType, view: str | None = None) -> None:
        super().__init__()
        src, relation, dst = edge_type
        self.edge_type: EdgeType = (src, relation, dst)
        self.view = view

    @property
    def lower_bound(self) -> float:
        r"""A bound that no loss falls below: rules that divide by losses shift them by it."""
        return 0.0

    @abstractmethod
    def sampler(self, data: HeteroData, generator: torch.Generator) -> Sampler:
        r"""Returns what makes this task's batches.

        Args:
            data: The graph, as a rule the training graph of a split.
            generator: Source of all randomness, on the device of the data.

        Raises:
            InputError: If the data lacks what supervises the task.
        """

    @abstractmethod
    def forward(self, batch: Batch | HeteroData, representations: Representations) -> Tensor:
        r"""Returns the loss.

        Args:
            batch: A batch of the task's sampler, or one of PyG's ``LinkNeighborLoader``.
            representations: What the encoder returned.

        Returns:
            A scalar.
        """

    def node_ids(self, batch: Batch | HeteroData) -> dict[str, Tensor | None]:
        r"""Returns the nodes whose rows the loss reads, per node type, with repetitions.

        :obj:`None` stands for all nodes, whose matrix the loss may then read as a whole.

        Args:
            batch: The batch that :meth:`forward` will get.
        """
        return as_batch(batch, self.edge_type).node_ids()
