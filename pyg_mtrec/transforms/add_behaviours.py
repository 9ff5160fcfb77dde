import copy
from collections.abc import Mapping, Sequence

from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform

from pyg_mtrec._errors import InputError
from pyg_mtrec.transforms._stores import MAIN, bipartite, refuse_derived
from pyg_mtrec.transforms._targets import Targets, targets_of
from pyg_mtrec.transforms._touches import times_of

_NAME = "AddBehaviours"


class AddBehaviours(BaseTransform):
    r"""Makes behaviours of a log: for every binary target the relation of its positive rows.

    Of impressions with the targets ``click`` and ``like`` it makes ``('user', 'clicks', 'item')``
    and ``('user', 'likes', 'item')`` with their ``time``. Pairs repeat as they do in the log; a row
    without a label is no event.

    Apply it before :class:`SplitImpressions`, with ``behaviours='keep'`` there, for
    :class:`~pyg_mtrec.loader.BehaviourSequences`: an event is known to impressions that come later,
    whichever part it lies in.

    Args:
        targets: Binary targets, or a mapping of targets to names of relations (default: all binary
            targets). Without a name, a relation is called like its target with an ``s``.

    Returns:
        The graph with one more relation for each of the targets.

    Raises:
        InputError: If a target is unknown or not binary, a relation is there already, a name is no
            identifier, impressions have no ``time``, or they are split.

    Example:
        >>> import torch
        >>> from torch_geometric.data import HeteroData
        >>> from pyg_mtrec.transforms import AddBehaviours
        >>> data = HeteroData()
        >>> data["user"].num_nodes, data["item"].num_nodes = 2, 3
        >>> store = data["user", "interacts", "item"]
        >>> store.edge_index = torch.tensor([[0, 1, 0], [0, 1, 2]])
        >>> store.time = torch.tensor([10, 20, 30])
        >>> store.target = torch.tensor([[1.0], [0.0], [1.0]])
        >>> store.target_names, store.target_kinds = ["click"], ["binary"]
        >>> AddBehaviours()(data)["user", "clicks", "item"]
        {'edge_index': tensor([[0, 0], [0, 2]]), 'time': tensor([10, 30])}
    """

    def __init__(self, targets: Sequence[str] | Mapping[str, str] | None = None) -> None:
        self.targets: dict[str, str] | None = None
        if isinstance(targets, Mapping):
            self.targets = dict(targets)
        elif targets is not None:
            self.targets = {name: f"{name}s" for name in targets}

    def forward(self, data: HeteroData) -> HeteroData:
        edge_index = bipartite(data, MAIN, _NAME)
        refuse_derived(data, [MAIN], _NAME)
        targets = targets_of(data, _NAME)
        relations = self._relations(data, targets)
        time = times_of(data, MAIN, _NAME)
        out = copy.copy(data)
        for name, relation in relations.items():
            rows = (targets.column(name) == 1).nonzero().view(-1)
            store = out["user", relation, "item"]
            store.edge_index, store.time = edge_index[:, rows], time[rows]
        return out

    def _relations(self, data: HeteroData, targets: Targets) -> dict[str, str]:
        relations = self.targets
        if relations is None:
            relations = {name: f"{name}s" for name in targets.binary}
        for name, relation in relations.items():
            if name not in targets.binary:
                raise InputError(
                    f"'targets' needs binary targets in {_NAME!r}, of"
                    f" {', '.join(targets.binary) or 'which there are none'} (got {name!r})"
                )
            if not relation.isidentifier():
                raise InputError(
                    f"a relation of {_NAME!r} needs an identifier as its name (got {relation!r})"
                )
            if ("user", relation, "item") in data.edge_types:
                raise InputError(
                    f"the graph already has {('user', relation, 'item')}: map {name!r} to another"
                    f" name in {_NAME!r}"
                )
        if not relations or len(set(relations.values())) < len(relations):
            raise InputError(
                f"{_NAME!r} needs at least one binary target, and distinct names of relations (got"
                f" {relations})"
            )
        return relations

    def __repr__(self) -> str:
        return f"{type(self).__name__}(targets={self.targets})"
