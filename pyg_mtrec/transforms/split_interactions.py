import copy
from typing import Any, Literal

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform
from torch_geometric.typing import EdgeType

from pyg_mtrec._errors import InputError
from pyg_mtrec.transforms import _strategies as strategies
from pyg_mtrec.transforms._leak import held_out, other_relations
from pyg_mtrec.transforms._split_graphs import labelled, messages
from pyg_mtrec.transforms._split_options import (
    Behaviours,
    ValFrom,
    check_choice,
    check_fractions,
    check_val_fraction,
    column,
    published_split,
)
from pyg_mtrec.transforms._stores import (
    MAIN,
    edges,
    num_nodes,
    pair_keys,
    refuse_derived,
    select_edges,
    unique_pairs,
)

Strategy = Literal["random", "per-user", "time", "leave-last-out", "given"]
MessageEdges = Literal["train", "train+val"]


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
      validation, that is drawn: from training, ``val_fraction`` of the interactions; or, where
      users have too few of these to give one away, from the test users, of whom ``val_fraction``
      become validation users with all their held-out interactions. No user is then in both.

    Repeated pairs are dropped before splitting (the first row stays).

    Args:
        strategy: One of the above.
        fractions: Shares of training, validation and test; their sum is 1.
        seed: Seed of the draws, which are the same on every device.
        message_edges: ``"train"``, or ``"train+val"`` if at test time messages may also travel
            validation interactions (``edge_index`` of the test graph only).
        edge_type: The relation to split, between two node types.
        val_fraction: Share that ``"given"`` takes for a missing validation (default: 0.1 of the
            training interactions, 0.5 of the test users).
        behaviours: ``"drop"`` removes a held-out pair from all other relations between the two
            node types; ``"keep"`` declares that they may tell (the count is reported as well).
            The reverse ``(dst, 'rev_' + name, src)`` is always cleared.
        val_from: Where ``"given"`` takes a missing validation from: ``"train"``, or
            ``"test-users"``.

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
            for training, or the graph already holds a split, a normalised adjacency or hyperedges
            made by :class:`~pyg_mtrec.transforms.AddTaskHypergraphs`.

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
        val_fraction: float | None = None,
        behaviours: Behaviours = "drop",
        val_from: ValFrom = "train",
    ) -> None:
        for name, value, choices in (
            ("strategy", strategy, Strategy),
            ("message_edges", message_edges, MessageEdges),
            ("behaviours", behaviours, Behaviours),
        ):
            check_choice(name, value, choices, "SplitInteractions")
        self.strategy = strategy
        self.fractions = check_fractions(fractions, "SplitInteractions")
        self.seed = seed
        self.message_edges = message_edges
        self.edge_type = edge_type
        self.val_fraction = check_val_fraction(
            val_fraction, val_from, strategy, "SplitInteractions"
        )
        self.val_from = val_from
        self.behaviours = behaviours

    def forward(self, data: HeteroData) -> tuple[HeteroData, HeteroData, HeteroData]:
        data, num_rows = unique_pairs(data, self.edge_type, "SplitInteractions")
        others = other_relations(data, self.edge_type, "drop")
        refuse_derived(data, [self.edge_type, *others], "SplitInteractions")
        edge_index, num_dst = data[self.edge_type].edge_index, num_nodes(data, self.edge_type[2])
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
        graphs = [
            messages(data, self.edge_type, position, "SplitInteractions")
            for position in positions[: 1 + at_test]
        ]
        train, val, test = (
            labelled(data, graph, self.edge_type, position, pairs, seen)
            for graph, position, pairs, seen in (
                (graphs[0], positions[0], known_edges[0], known_edges[0]),
                (graphs[0], labels[0], edge_index[:, labels[0]], known_edges[0]),
                (graphs[-1], labels[1], edge_index[:, labels[1]], known_edges[1]),
            )
        )
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
                part = strategies.by_time(self._time(data), self.fractions)
            case "leave-last-out":
                part = strategies.leave_last_out(edge_index[0], self._time(data))
            case "given":
                split = published_split(data, self.edge_type)
                part = strategies.given(
                    split, edge_index[0], self.val_from, self.val_fraction, generator
                )
        part = part.to(edge_index.device)
        if not bool((part == strategies.TRAIN).any()):
            raise InputError(
                f"{self.strategy!r} split of {self.edge_type} leaves nothing for training "
                f"({edge_index.size(1)} interactions): choose other fractions or another strategy"
            )
        return part

    def _time(self, data: HeteroData) -> Tensor:
        return column(data, self.edge_type, "time", self.strategy)

    def _report(self, num_rows: int, part: Tensor) -> dict[str, Any]:
        num_train, num_val, num_test = torch.bincount(part, minlength=3).tolist()
        return {
            "strategy": self.strategy,
            "fractions": list(self.fractions),
            "val_fraction": self.val_fraction,
            "val_from": self.val_from,
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

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(strategy={self.strategy!r}, fractions={self.fractions}, "
            f"seed={self.seed}, message_edges={self.message_edges!r})"
        )
