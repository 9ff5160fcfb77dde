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
from pyg_mtrec.transforms._split_options import (
    Behaviours,
    check_choice,
    check_fractions,
    column,
    published_split,
)
from pyg_mtrec.transforms._stores import (
    MAIN,
    attributes,
    bipartite,
    edges,
    first_of_each,
    num_nodes,
    pair_keys,
    refuse_derived,
    select_edges,
)
from pyg_mtrec.transforms._targets import Targets, describe_labels, refuse_constant, targets_of

Strategy = Literal["time", "random", "given"]

_NAME = "SplitImpressions"
_PARTS = {"train": strategies.TRAIN, "val": strategies.VAL, "test": strategies.TEST}


class SplitImpressions(BaseTransform):
    r"""Splits impressions with targets into training, validation and test.

    An impression is a row of ``('user', 'interacts', 'item')``: a user was shown an item, and
    ``target`` says what came of it. Pairs may repeat, and every row stays.

    * ``"time"``: everything up to one moment is for training, up to a second moment for validation.
      These are the moments that come nearest to the fractions while no part with a positive
      fraction stays empty; rows of the same time are never separated.
    * ``"random"``: one permutation of all rows, cut at :math:`\mathrm{round}(f_1 n)` and
      :math:`\mathrm{round}((f_1 + f_2) n)`. Rows that repeat, as logs have them, may then be
      trained on and tested.
    * ``"given"``: the part that ``split`` names (0 training, 1 validation, 2 test), as
      :class:`DrawImpressions` leaves it.

    Messages travel what training says: the distinct pairs of training rows that are positive in one
    target. Attributes of unsplit rows (``target``, ``time``, features of the moment, ratings) leave
    the relation and come back beside the labels of their own part alone. Pairs that are held out
    are taken from all other relations between users and items, and counted. With
    ``behaviours='keep'`` they stay in all but the reverse relation: for
    :class:`~pyg_mtrec.loader.BehaviourSequences`, which shows an event only to impressions that
    come later. No messages may travel such relations.

    Args:
        strategy: ``"time"``, ``"random"`` or ``"given"``.
        fractions: Shares of training, validation and test; their sum is 1 (``"given"`` has none).
        seed: Seed of the draws, which are the same on every device.
        messages: The binary target that makes a training row a message edge, or ``"all"`` for all
            training rows (default: the first binary target, ``"all"`` if there is none).
        behaviours: Whether held-out pairs are dropped from other relations between users and items
            (``"drop"``) or stay there (``"keep"``).

    Returns:
        Three graphs, ``train, val, test``. In the store of ``('user', 'interacts', 'item')``:
        ``edge_index`` :math:`[2, M]` of messages, the same tensor in all three;
        ``edge_label_index`` :math:`[2, n]`; ``edge_label`` :math:`[n, K]` float32, NaN where
        unlabelled; ``edge_label_names``, ``edge_label_kinds``; ``edge_label_time`` :math:`[n]`,
        ``edge_label_categorical`` and ``edge_label_numeric`` :math:`[n, F]` where the data has
        them; and ``seen_edge_index`` :math:`[2, S]`, distinct pairs (of training for ``train`` and
        ``val``, of training and validation for ``test``). On each graph ``split_report`` is a plain
        dictionary of the settings, counts, times and means of labels.

    Raises:
        InputError: If a choice is unknown, fractions do not sum to 1, targets are missing or have
            values that their kind does not allow, a target is the same in all training rows,
            ``time`` or ``split`` is missing where it is needed, drawn impressions are split
            otherwise than they were drawn for, or the graph holds a split or an operator.

    Example:
        >>> import torch
        >>> from torch_geometric.data import HeteroData
        >>> from pyg_mtrec.transforms import SplitImpressions
        >>> data = HeteroData()
        >>> data["user"].num_nodes, data["item"].num_nodes = 2, 3
        >>> store = data["user", "interacts", "item"]
        >>> store.edge_index = torch.tensor([[0, 1, 0, 1, 0], [0, 1, 0, 2, 1]])
        >>> store.time = torch.tensor([1, 2, 3, 4, 5])
        >>> store.target = torch.tensor([[1.0], [0.0], [1.0], [1.0], [0.0]])
        >>> store.target_names, store.target_kinds = ["click"], ["binary"]
        >>> train, val, test = SplitImpressions(fractions=(0.6, 0.2, 0.2))(data)
        >>> train["user", "interacts", "item"].edge_index  # clicked in training, once each
        tensor([[0],
                [0]])
        >>> test["user", "interacts", "item"].edge_label_index
        tensor([[0],
                [1]])
        >>> test.split_report["train"]
        {'rows': 3, 'time': [1, 3], 'labels': {'click': {'labelled': 3, 'mean': 0.666...}}}
    """

    def __init__(
        self,
        strategy: Strategy = "time",
        fractions: tuple[float, float, float] = (0.8, 0.1, 0.1),
        seed: int = 0,
        messages: str | None = None,
        behaviours: Behaviours = "drop",
    ) -> None:
        check_choice("strategy", strategy, Strategy, _NAME)
        check_choice("behaviours", behaviours, Behaviours, _NAME)
        self.strategy = strategy
        self.fractions = check_fractions(fractions, _NAME)
        self.seed = seed
        self.messages = messages
        self.behaviours = behaviours

    def forward(self, data: HeteroData) -> tuple[HeteroData, HeteroData, HeteroData]:
        edge_index = bipartite(data, MAIN, _NAME)
        if edge_index.size(1) == 0:
            raise InputError(f"{MAIN} is empty: {_NAME!r} found no impression")
        others = other_relations(data, MAIN, "drop")
        refuse_derived(data, [MAIN, *others], _NAME)
        targets = targets_of(data, _NAME)
        messages = self._messages(targets)
        part = self._assign(data, edge_index)
        rows = {name: (part == own).nonzero().view(-1) for name, own in _PARTS.items()}
        if rows["train"].numel() == 0:
            raise InputError(
                f"{self.strategy!r} split of {MAIN} leaves nothing for training"
                f" ({part.numel()} impressions): choose other fractions"
            )
        refuse_constant(targets, rows["train"], "training impressions")

        base = copy.copy(data)
        report = self._report(data, targets, messages, rows)
        cleared = other_relations(data, MAIN, self.behaviours)
        report |= _drop_held_out(base, others, cleared, edge_index, part)
        size = edge_index.size(1)
        for name in [name for name, _, _ in attributes(data, MAIN, size, _NAME)]:
            del base[MAIN][name]
        for name in ("target_names", "target_kinds"):
            del base[MAIN][name]
        num_items = num_nodes(data, "item")
        travel = rows["train"]
        if messages != "all":
            travel = travel[targets.column(messages)[travel] == 1]
        base[MAIN].edge_index = _distinct(edge_index[:, travel], num_items)
        report["message_edges"] = base[MAIN].edge_index.size(1)
        known = _distinct(edge_index[:, rows["train"]], num_items)
        later = _distinct(edge_index[:, (part != strategies.TEST).nonzero().view(-1)], num_items)
        train, val, test = (
            _labelled(data, base, targets, rows[name], seen, report)
            for name, seen in (("train", known), ("val", known), ("test", later))
        )
        return train, val, test

    def _messages(self, targets: Targets) -> str:
        if self.messages is None:
            return targets.binary[0] if targets.binary else "all"
        if self.messages not in (*targets.binary, "all"):
            choices = ", ".join([*targets.binary, "all"])
            raise InputError(
                f"'messages' needs to be a binary target or 'all' in {_NAME!r}, one of {choices}"
                f" (got {self.messages!r})"
            )
        return self.messages

    def _assign(self, data: HeteroData, edge_index: Tensor) -> Tensor:
        if self.strategy != "given" and "draw_report" in data:
            raise InputError(
                f"the labels of drawn impressions end with the part that they were drawn for: split"
                f" {MAIN} by 'given' (got {self.strategy!r})"
            )
        if self.strategy == "given":
            part = published_split(data, MAIN).long()
        elif self.strategy == "time":
            part = strategies.by_time(column(data, MAIN, "time", "time"), self.fractions)
        else:
            generator = torch.Generator().manual_seed(self.seed)
            part = strategies.at_random(edge_index.size(1), self.fractions, generator)
        return part.to(edge_index.device)

    def _report(
        self, data: HeteroData, targets: Targets, messages: str, rows: dict[str, Tensor]
    ) -> dict[str, Any]:
        report: dict[str, Any] = {
            "strategy": self.strategy,
            "fractions": None if self.strategy == "given" else list(self.fractions),
            "seed": self.seed,
            "messages": messages,
            "behaviours": self.behaviours,
        }
        if "draw_report" in data:
            report["drawn"] = data.draw_report
        for name, index in rows.items():
            report[name] = {"rows": index.numel()}
            if "time" in data[MAIN] and index.numel():
                bounds = torch.stack(data[MAIN].time[index].aminmax())
                report[name]["time"] = bounds.tolist()
            report[name]["labels"] = describe_labels(targets, index)
        return report

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(strategy={self.strategy!r}, fractions={self.fractions}, "
            f"seed={self.seed}, messages={self.messages!r}, behaviours={self.behaviours!r})"
        )


def _distinct(edge_index: Tensor, num_dst: int) -> Tensor:
    return edge_index[:, first_of_each(pair_keys(edge_index, num_dst)).nonzero().view(-1)]


def _drop_held_out(
    data: HeteroData,
    others: list[EdgeType],
    cleared: list[EdgeType],
    edge_index: Tensor,
    part: Tensor,
) -> dict[str, dict[str, int]]:
    r"""Takes the pairs of validation and test from the relations ``cleared``.

    Returns:
        How many of them were dropped from each relation, and how many were kept in the others.
    """
    num_items = num_nodes(data, MAIN[2])
    held = pair_keys(edge_index[:, part != strategies.TRAIN], num_items).sort().values
    counts: dict[str, dict[str, int]] = {"behaviours_dropped": {}, "behaviours_kept": {}}
    for other in others:
        if "edge_index" not in data[other]:
            continue
        flip = other[0] != MAIN[0]
        known = held_out(edges(data, other, _NAME), flip, held, num_items)
        verb = "dropped" if other in cleared else "kept"
        counts[f"behaviours_{verb}"][" ".join(other)] = int(known.sum())
        if other in cleared and bool(known.any()):
            select_edges(data, other, (~known).nonzero().view(-1), _NAME)
    return counts


def _labelled(
    data: HeteroData,
    base: HeteroData,
    targets: Targets,
    rows: Tensor,
    seen: Tensor,
    report: dict[str, Any],
) -> HeteroData:
    r"""Returns ``base`` with the impressions at the positions ``rows`` as what is to be predicted.

    What describes them comes from ``data``, the unsplit graph.
    """
    out = copy.copy(base)
    store = out[MAIN]
    store.edge_label_index = data[MAIN].edge_index[:, rows]
    store.edge_label = targets.value[rows].float()
    store.edge_label_names, store.edge_label_kinds = list(targets.names), list(targets.kinds)
    for name in ("time", "categorical", "numeric"):
        if name in data[MAIN]:
            store[f"edge_label_{name}"] = data[MAIN][name][rows]
    store.seen_edge_index = seen
    out.split_report = copy.deepcopy(report)
    return out
