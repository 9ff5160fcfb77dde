import copy
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform
from torch_geometric.typing import EdgeType

from pyg_mtrec._errors import InputError
from pyg_mtrec.transforms import _strategies as strategies
from pyg_mtrec.transforms._leak import held_out, other_relations
from pyg_mtrec.transforms._stores import (
    MAIN,
    bipartite,
    edges,
    first_of_each,
    num_nodes,
    pair_keys,
    refuse_derived,
    select_edges,
)

Strategy = Literal["random", "per-user", "time", "leave-last-out", "given"]
MessageEdges = Literal["train", "train+val"]
Behaviours = Literal["drop", "keep"]


class SplitInteractions(BaseTransform):
    r"""Splits the interactions into training, validation and test, without a leak.

    In each of the three graphs ``edge_index`` is what messages may travel: the training
    interactions, the same in all three. What is to be predicted is ``edge_label_index``; what
    evaluation masks is ``seen_edge_index``. A held-out pair is in no message edge of any graph,
    in either direction: other behaviours of that pair go as well, and are counted.

    The strategies, for :math:`n` interactions and fractions :math:`(f_1, f_2, f_3)`:

    * ``"random"``: one permutation of all interactions, cut at :math:`\mathrm{round}(f_1 n)` and
      :math:`\mathrm{round}((f_1 + f_2) n)`.
    * ``"per-user"``: the same within each user. Of a user's :math:`n_u` interactions
      :math:`\lfloor f_3 n_u + 1/2 \rfloor` are for test and :math:`\lfloor f_2 n_u + 1/2 \rfloor`
      for validation, the rest for training, which gets at least one: validation gives way first.
    * ``"time"``: everything up to one moment is for training, up to a second moment for
      validation. These are the moments that come nearest to the fractions while no part with a
      positive fraction stays empty; interactions of the same time are never separated. ``time``
      has to be a clock common to all users: a position in one's own history does not do.
    * ``"leave-last-out"``: each user's last interaction is for test, the last but one for
      validation; at equal times the later row counts as later. Users with fewer than three
      interactions stay in training. The fractions are not used.
    * ``"given"``: the published split, ``split`` (0 training, 1 validation, 2 test). If it has no
      validation, ``val_fraction`` of the training interactions is drawn at random.

    Repeated pairs are dropped before splitting (the first row stays).

    Args:
        strategy: One of the above.
        fractions: Shares of training, validation and test; their sum is 1.
        seed: Seed of the draws, which are the same on every device.
        message_edges: ``"train"``, or ``"train+val"`` if at test time messages may also travel
            validation interactions (``edge_index`` of the test graph only).
        edge_type: The relation to split, between two node types.
        val_fraction: Share of training that ``"given"`` takes for a missing validation part.
        behaviours: ``"drop"`` removes a held-out pair from all other relations between the two
            node types; ``"keep"`` declares that they may tell (the count is reported as well).
            The reverse ``(dst, 'rev_' + name, src)`` is always cleared.

    Returns:
        Three graphs, ``train, val, test``. In the store of ``edge_type``: ``edge_index``
        :math:`[2, E]` with its attributes beside it (without ``split``), ``edge_label_index``
        :math:`[2, L]`, ``edge_label`` :math:`[L, 1]` float32, ``edge_label_names``,
        ``edge_label_kinds``, ``edge_label_time`` and ``edge_label_rating`` :math:`[L]` where the
        data has them, and ``seen_edge_index`` :math:`[2, S]` (training for ``train`` and ``val``,
        training and validation for ``test``). On each graph ``split_report`` is a plain
        dictionary of the settings and counts.

    Raises:
        InputError: If the fractions do not sum to 1, a choice is unknown, the relation is missing
            or empty, ``time`` or ``split`` is missing where the strategy needs it, nothing is left
            for training, or the graph already holds a split or a normalised adjacency.

    Example:
        >>> import torch
        >>> from torch_geometric.data import HeteroData
        >>> from pyg_mtrec.transforms import SplitInteractions
        >>> data = HeteroData()
        >>> data['user'].num_nodes, data['item'].num_nodes = 2, 5
        >>> data['user', 'interacts', 'item'].edge_index = torch.tensor(
        ...     [[0, 0, 0, 0, 0, 1, 1, 1, 1, 1], [0, 1, 2, 3, 4, 4, 3, 2, 1, 0]])
        >>> data['user', 'interacts', 'item'].time = torch.arange(10)
        >>> train, val, test = SplitInteractions('leave-last-out')(data)
        >>> test['user', 'interacts', 'item'].edge_label_index
        tensor([[0, 1],
                [4, 0]])
        >>> test['user', 'interacts', 'item'].edge_index
        tensor([[0, 0, 0, 1, 1, 1],
                [0, 1, 2, 4, 3, 2]])
    """

    def __init__(
        self,
        strategy: Strategy = "random",
        fractions: tuple[float, float, float] = (0.6, 0.2, 0.2),
        seed: int = 0,
        message_edges: MessageEdges = "train",
        edge_type: EdgeType = MAIN,
        val_fraction: float = 0.1,
        behaviours: Behaviours = "drop",
    ) -> None:
        for name, value, choices in (
            ("strategy", strategy, get_args(Strategy)),
            ("message_edges", message_edges, get_args(MessageEdges)),
            ("behaviours", behaviours, get_args(Behaviours)),
        ):
            if value not in choices:
                raise InputError(
                    f"{name!r} needs to be one of {choices} in 'SplitInteractions' (got {value!r})"
                )
        train, *later = fractions
        if len(later) != 2 or not (
            train > 0 and min(later) >= 0 and abs(train + sum(later) - 1) < 1e-6
        ):
            raise InputError(
                "'fractions' needs to be three shares that sum to 1, the first above 0, "
                f"in 'SplitInteractions' (got {tuple(fractions)})"
            )
        if not 0 <= val_fraction < 1:
            raise InputError(
                f"'val_fraction' needs to be in [0, 1) in 'SplitInteractions' (got {val_fraction})"
            )
        self.strategy = strategy
        self.fractions = (train, later[0], later[1])
        self.seed = seed
        self.message_edges = message_edges
        self.edge_type = edge_type
        self.val_fraction = val_fraction
        self.behaviours = behaviours

    def forward(self, data: HeteroData) -> tuple[HeteroData, HeteroData, HeteroData]:
        edge_index = bipartite(data, self.edge_type, "SplitInteractions")
        num_rows = edge_index.size(1)
        if num_rows == 0:
            raise InputError(f"{self.edge_type} is empty: 'SplitInteractions' found no interaction")
        others = other_relations(data, self.edge_type, "drop")
        refuse_derived(data, [self.edge_type, *others], "SplitInteractions")

        data = copy.copy(data)
        num_dst = num_nodes(data, self.edge_type[2])
        first = first_of_each(pair_keys(edge_index, num_dst))
        if not bool(first.all()):
            kept = first.nonzero().view(-1)
            select_edges(data, self.edge_type, kept, "SplitInteractions")
            edge_index = data[self.edge_type].edge_index
        part = self._assign(data, edge_index)
        report = self._report(num_rows, part)

        held = pair_keys(edge_index[:, part != strategies.TRAIN], num_dst).sort().values
        cleared = other_relations(data, self.edge_type, self.behaviours)
        for other in others:
            if "edge_index" not in data[other]:
                continue
            flip = other[0] != self.edge_type[0]
            known = held_out(edges(data, other, "SplitInteractions"), flip, held, num_dst)
            verb = "dropped" if other in cleared else "kept"
            report[f"behaviours_{verb}"][" ".join(other)] = int(known.sum())
            if other in cleared and bool(known.any()):
                kept = (~known).nonzero().view(-1)
                select_edges(data, other, kept, "SplitInteractions")
        # Known before training ends, and before testing: all graphs share these tensors.
        positions = [
            (part <= last).nonzero().view(-1) for last in (strategies.TRAIN, strategies.VAL)
        ]
        known_edges = [edge_index[:, position] for position in positions]
        labels = [(part == own).nonzero().view(-1) for own in (strategies.VAL, strategies.TEST)]
        at_test = self.message_edges == "train+val"
        graphs = [self._messages(data, position) for position in positions[: 1 + at_test]]
        train = self._labelled(data, graphs[0], positions[0], known_edges[0], known_edges[0])
        val = self._labelled(data, graphs[0], labels[0], edge_index[:, labels[0]], known_edges[0])
        test = self._labelled(data, graphs[-1], labels[1], edge_index[:, labels[1]], known_edges[1])
        for graph in (train, val, test):
            graph.split_report = copy.deepcopy(report)
        return train, val, test

    def _assign(self, data: HeteroData, edge_index: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        match self.strategy:
            case "random":
                part = strategies.at_random(edge_index.size(1), self.fractions, generator)
            case "per-user":
                part = strategies.per_user(edge_index[0], self.fractions, generator)
            case "time":
                part = strategies.by_time(self._column(data, "time"), self.fractions)
            case "leave-last-out":
                part = strategies.leave_last_out(edge_index[0], self._column(data, "time"))
            case "given":
                split = self._column(data, "split")
                if bool(((split < 0) | (split > 2)).any()):
                    raise InputError(
                        f"'split' of {self.edge_type} needs to be 0, 1 or 2 "
                        f"(found {split.unique().tolist()[:5]})"
                    )
                part = strategies.given(split, self.val_fraction, generator)
        part = part.to(edge_index.device)
        if not bool((part == strategies.TRAIN).any()):
            raise InputError(
                f"{self.strategy!r} split of {self.edge_type} leaves nothing for training "
                f"({edge_index.size(1)} interactions): choose other fractions or another strategy"
            )
        return part

    def _column(self, data: HeteroData, name: str) -> Tensor:
        column = data[self.edge_type].get(name)
        size = data[self.edge_type].edge_index.size(1)
        if not isinstance(column, Tensor) or column.shape != (size,):
            found = "no such attribute" if column is None else "another shape"
            raise InputError(
                f"{self.strategy!r} split needs {name!r} [{size}] on {self.edge_type} "
                f"(found {found}): add it or choose another strategy"
            )
        if column.is_floating_point() and bool(column.isnan().any()):
            row = int(column.isnan().nonzero()[0])
            raise InputError(
                f"{name!r} of {self.edge_type} is NaN in row {row}: fill it or drop the row"
            )
        return column

    def _report(self, num_rows: int, part: Tensor) -> dict[str, Any]:
        num_train, num_val, num_test = torch.bincount(part, minlength=3).tolist()
        return {
            "strategy": self.strategy,
            "fractions": list(self.fractions),
            "val_fraction": self.val_fraction,
            "seed": self.seed,
            "message_edges": self.message_edges,
            "behaviours": self.behaviours,
            "duplicates_dropped": num_rows - part.numel(),
            "train": num_train,
            "val": num_val,
            "test": num_test,
            "behaviours_dropped": {},
            "behaviours_kept": {},
        }

    def _messages(self, data: HeteroData, position: Tensor) -> HeteroData:
        """The graph that messages travel."""
        out = copy.copy(data)
        select_edges(out, self.edge_type, position, "SplitInteractions")
        if "split" in out[self.edge_type]:  # would be misleading under another strategy
            del out[self.edge_type].split
        return out

    def _labelled(
        self, data: HeteroData, graph: HeteroData, position: Tensor, pairs: Tensor, seen: Tensor
    ) -> HeteroData:
        """A graph with what is to be predicted on it and what evaluation masks."""
        out = copy.copy(graph)
        store = out[self.edge_type]
        store.edge_label_index = pairs
        store.edge_label = torch.ones(position.numel(), 1, device=position.device)
        store.edge_label_names = [self.edge_type[1]]
        store.edge_label_kinds = ["binary"]
        for name in ("time", "rating"):
            if name in data[self.edge_type]:
                store[f"edge_label_{name}"] = data[self.edge_type][name][position]
        store.seen_edge_index = seen
        return out

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(strategy={self.strategy!r}, fractions={self.fractions}, "
            f"seed={self.seed}, message_edges={self.message_edges!r})"
        )
