from collections.abc import Sequence

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform
from torch_geometric.typing import EdgeType

from pyg_mtrec._errors import InputError
from pyg_mtrec.transforms._split_options import check_choice
from pyg_mtrec.transforms._stores import (
    HYPEREDGE,
    MAIN,
    attributes,
    bipartite,
    edges,
    first_of_each,
    num_nodes,
    pair_keys,
)
from pyg_mtrec.transforms._task_hypergraphs import (
    Direction,
    distinct_names,
    mean_bins,
    stars,
    task_hypergraphs,
)

_NAME = "AddTaskHypergraphs"


class AddTaskHypergraphs(BaseTransform):
    r"""Marks and makes the hypergraphs on which pretext tasks are posed.

    After `Unified Pretraining for Recommendation via Task Hypergraphs
    <https://arxiv.org/abs/2310.13286>`_. A task hypergraph is a bipartite relation from vertices
    (users or items) to hyperedges, whose store says in ``task`` what the task is called:

    * A relation from users or items to a third node type is one already and is marked; its task
      is the third type (``"category"``, ``"group"``).
    * A relation within users or within items (not a ``rev_`` one) becomes stars, one for every
      node :math:`v` that has neighbours other than itself:

      .. math::
          e_v = \{v\} \cup \{w \ne v : (v, w) \in E\}

      They are nodes of the new type ``hyperedge_<relation>``, with the node id of every head in
      ``head``, and the relation to them is ``(type, 'in', 'hyperedge_<relation>')``; the task is
      ``<relation>``.
    * Items are binned by their mean rating, rounded to multiples of ``bin_width`` (halves up):
      new type ``hyperedge_rating``, with the rating of every bin that occurs in ``value``, and
      task ``"rating"``, unless another relation is called so.

    Where relations would share a task's name, all of them take a longer one
    (``<source>_<third type>``, ``<source>_<relation>``).

    The interactions themselves are two hypergraphs: an item joins its users in ``edge_type``, a
    user joins their items in ``(dst, 'rev_' + name, src)``, which is given the flipped edges. They
    are the encoder's own and carry no ``task``.

    Only message edges (``edge_index``) are read. On each graph of a split these are the training
    interactions, so that all three get the same hypergraphs and none knows a held-out rating
    (what else messages may travel at test time, validation or support, is known there as well).

    Args:
        edge_type: The main relation, between two node types.
        relations: The relations that take part (default: all that can).
        direction: Whom a star gathers: those that its head points to (``"out"``), those that
            point to it (``"in"``), or ``"both"``.
        include_head: Whether the head is a vertex of its own star.
        rating_bins: Whether to bin items by rating, if the main relation has ``rating``.
        bin_width: Distance of two bins, in units of the rating.

    Returns:
        A new graph; the given one is left as it was. Relations without edges stay, and give
        relations without edges.

    Raises:
        InputError: If the graph has task hypergraphs already, a relation is missing or can be no
            hypergraph, ids lie outside their node type, a rating is not finite, or an argument is
            out of range.

    Example:
        >>> import torch
        >>> from torch_geometric.data import HeteroData
        >>> from pyg_mtrec.transforms import AddTaskHypergraphs
        >>> data = HeteroData()
        >>> data['user'].num_nodes, data['item'].num_nodes = 3, 2
        >>> data['user', 'interacts', 'item'].edge_index = torch.tensor([[0, 1, 2], [0, 0, 1]])
        >>> data['user', 'interacts', 'item'].rating = torch.tensor([5.0, 4.0, 3.0])
        >>> data['user', 'trusts', 'user'].edge_index = torch.tensor([[2, 2, 0], [0, 1, 2]])
        >>> data = AddTaskHypergraphs()(data)
        >>> data['user', 'in', 'hyperedge_trusts'].edge_index
        tensor([[0, 2, 0, 1, 2],
                [0, 0, 1, 1, 1]])
        >>> data['hyperedge_trusts'].head, data['hyperedge_rating'].value
        (tensor([0, 2]), tensor([3.0000, 4.5000]))
    """

    def __init__(
        self,
        edge_type: EdgeType = MAIN,
        relations: Sequence[EdgeType] | None = None,
        direction: Direction = "out",
        include_head: bool = True,
        rating_bins: bool = True,
        bin_width: float = 0.5,
    ) -> None:
        check_choice("direction", direction, Direction, _NAME)
        if not 0 < bin_width < float("inf"):
            raise InputError(f"'bin_width' needs to be positive in {_NAME!r} (got {bin_width})")
        self.edge_type = edge_type
        self.relations = None if relations is None else [tuple(each) for each in relations]
        self.direction = direction
        self.include_head = include_head
        self.rating_bins = rating_bins
        self.bin_width = bin_width

    def forward(self, data: HeteroData) -> HeteroData:
        src, name, dst = self.edge_type
        edge_index = bipartite(data, self.edge_type, _NAME)
        made = [node_type for node_type in data.node_types if node_type.startswith(HYPEREDGE)]
        if made := made or list(task_hypergraphs(data)):
            raise InputError(
                f"the graph already has task hypergraphs ({', '.join(made)}): "
                f"apply {_NAME!r} once, to a graph without them"
            )
        incidences, links = self._relations(data)
        names = distinct_names(
            {r: (r[2], f"{r[0]}_{r[2]}", "_".join(r)) for r in incidences}
            | {r: (r[1], f"{r[0]}_{r[1]}", "_".join(r)) for r in links}
        )
        for relation in incidences:
            edges(data, relation, _NAME)
            data[relation].task = names[relation]
        for relation in links:
            size = num_nodes(data, relation[0])
            incidence, head = stars(
                edges(data, relation, _NAME), size, self.direction, self.include_head
            )
            hyperedges = _add(data, relation[0], names[relation], incidence, head.numel())
            data[hyperedges].head = head
        if self.rating_bins and "rating" in data[self.edge_type] and "rating" not in names.values():
            self._add_bins(data, edge_index)
        self._add_reverse(data, (dst, f"rev_{name}", src), edge_index)
        return data

    def _relations(self, data: HeteroData) -> tuple[list[EdgeType], list[EdgeType]]:
        """The incidences to mark and the links that make stars, in the order of the graph."""
        ends = (self.edge_type[0], self.edge_type[2])
        found = [relation for relation in data.edge_types if "edge_index" in data[relation]]
        incidences = [r for r in found if r[0] in ends and r[2] not in ends]
        links = [r for r in found if r[0] in ends and r[0] == r[2]]
        if self.relations is None:
            return incidences, [r for r in links if not r[1].startswith("rev_")]
        for relation in self.relations:
            if relation not in incidences and relation not in links:
                raise InputError(
                    f"{_NAME!r} can't use {relation} of 'relations': it takes relations with edges "
                    f"from {ends[0]!r} or {ends[1]!r} to a third node type or to themselves "
                    f"(found {incidences + links})"
                )
        chosen = self.relations
        return [r for r in incidences if r in chosen], [r for r in links if r in chosen]

    def _add_bins(self, data: HeteroData, edge_index: Tensor) -> None:
        rating = data[self.edge_type].rating
        if not isinstance(rating, Tensor) or rating.shape != edge_index.shape[1:]:
            raise InputError(
                f"'rating' of {self.edge_type} needs to be a tensor [{edge_index.size(1)}]: "
                f"reshape it or pass rating_bins=False to {_NAME!r}"
            )
        finite = rating.isfinite()
        if not bool(finite.all()):
            row = int((~finite).nonzero()[0])
            raise InputError(
                f"'rating' of {self.edge_type} is {float(rating[row])} in row {row}: "
                f"fill it or pass rating_bins=False to {_NAME!r}"
            )
        size = num_nodes(data, self.edge_type[2])
        first = first_of_each(pair_keys(edge_index, size))  # of a repeated pair, as in a split
        incidence, value = mean_bins(edge_index[1, first], rating[first], size, self.bin_width)
        hyperedges = _add(data, self.edge_type[2], "rating", incidence, value.numel())
        data[hyperedges].value = value

    def _add_reverse(self, data: HeteroData, reverse: EdgeType, edge_index: Tensor) -> None:
        flipped = edge_index.flip(0)
        if reverse in data.edge_types and "edge_index" in data[reverse]:
            present, size = edges(data, reverse, _NAME), num_nodes(data, reverse[2])
            keys = [pair_keys(each, size).unique() for each in (present, flipped)]
            if torch.equal(*keys):
                return
            # Another choice of edges: what stands beside them would belong to others.
            for name, _, _ in list(attributes(data, reverse, present.size(1), _NAME)):
                del data[reverse][name]
        data[reverse].edge_index = flipped

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(edge_type={self.edge_type}, relations={self.relations}, "
            f"direction={self.direction!r}, include_head={self.include_head}, "
            f"rating_bins={self.rating_bins}, bin_width={self.bin_width})"
        )


def _add(data: HeteroData, vertices: str, task: str, incidence: Tensor, size: int) -> str:
    """Adds a node type of hyperedges and the relation to it."""
    hyperedges = f"{HYPEREDGE}{task}"
    data[hyperedges].num_nodes = size
    data[vertices, "in", hyperedges].edge_index = incidence
    data[vertices, "in", hyperedges].task = task
    return hyperedges
