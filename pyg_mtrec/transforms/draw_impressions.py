import copy
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.transforms import BaseTransform

from pyg_mtrec._errors import InputError
from pyg_mtrec.transforms import _strategies as strategies
from pyg_mtrec.transforms._drawn import Drawn, Events, events_of, published_pairs
from pyg_mtrec.transforms._split_options import check_choice, check_fractions
from pyg_mtrec.transforms._stores import MAIN, refuse_derived

At = Literal["first", "every"]

_NAME = "DrawImpressions"
_TARGETS = {"carts": "cart", "buys": "buy"}
_PARTS = {"train": strategies.TRAIN, "val": strategies.VAL, "test": strategies.TEST}


class DrawImpressions(BaseTransform):
    r"""Turns behaviours into impressions with binary targets, most of them drawn.

    Behaviours say what users did and when, but not what else they could have done. For every pair
    of user and item with an event of a target's behaviour there is one impression, and beside it
    ``num_negatives`` more of the same user and moment :math:`\tau`, each with an item drawn
    uniformly from those that the user has not touched in any behaviour up to :math:`\tau`. All are
    labelled alike: target :math:`k` of :math:`(u, i, \tau)` is

    .. math::
        y_k = \left[\, u \text{ does } k \text{ with } i \text{ at some } t,\;
        \tau \le t < \tau_{\mathrm{end}} \,\right]

    where :math:`\tau_{\mathrm{end}}` is the moment at which the next part of the split begins, so
    that no label of training knows of validation or test. The parts are cut at the moments of
    impressions nearest to the fractions. The moment :math:`\tau` of a pair is

    * ``"first"``: its first event in any behaviour. An item is in no sequence of events before
      :math:`\tau` then, be it drawn or not, and labels can't be told from whether it is.
    * ``"every"``: every event of a target's behaviour. Items are mostly in the sequences of the
      events before then (they were viewed), while drawn ones never are, which makes the targets
      nearly trivial for models that read sequences.

    Args:
        targets: Behaviours, names of relations from users to items, to names of their targets
            (default: ``{"carts": "cart", "buys": "buy"}``).
        num_negatives: Drawn impressions :math:`m` for each that happened.
        at: The moments of impressions, ``"first"`` or ``"every"``.
        published: The behaviour whose held-out events are the rows of ``('user', 'interacts',
            'item')`` with ``split`` 2, as in :class:`~pyg_mtrec.datasets.Retailrocket`. They become
            the test part, at one moment after all events, labelled for this target alone
            (default: none, these rows are left out and the last moments are for testing).
        fractions: Shares of training, validation and test (default: ``(0.8, 0.1, 0.1)``, with
            ``published`` ``(0.9, 0.1, 0.0)``).
        behaviours: What counts as touching an item (default: all relations from users to items with
            ``time``, but the main one).
        seed: Seed of the draws, which are the same on every device.

    Returns:
        The graph whose relation ``('user', 'interacts', 'item')`` holds the impressions in the
        order of time, user and item, with ``time``, ``target``, and ``split`` for
        ``SplitImpressions("given", behaviours="keep")``. On the graph ``draw_report`` is a plain
        dictionary of settings and counts, which the split's report repeats.

    Raises:
        InputError: If an argument is wrong, a relation is missing or has no integer ``time``,
            nothing happened in the targets' behaviours, or there are too few moments to cut.

    Example:
        >>> import torch
        >>> from torch_geometric.data import HeteroData
        >>> from pyg_mtrec.transforms import DrawImpressions
        >>> data = HeteroData()
        >>> data["user"].num_nodes, data["item"].num_nodes = 1, 9
        >>> views, carts = data["user", "views", "item"], data["user", "carts", "item"]
        >>> views.edge_index = torch.tensor([[0, 0, 0], [4, 5, 6]])
        >>> views.time = torch.tensor([10, 20, 30])
        >>> carts.edge_index = torch.tensor([[0, 0], [4, 6]])
        >>> carts.time = torch.tensor([11, 31])
        >>> draw = DrawImpressions({"carts": "cart"}, num_negatives=1, fractions=(0.5, 0.0, 0.5))
        >>> store = draw(data)["user", "interacts", "item"]
        >>> store.time, store.split  # one that happened and one drawn, at each first view
        (tensor([10, 10, 30, 30]), tensor([0, 0, 2, 2], dtype=torch.int8))
        >>> store.edge_index[1][store.target[:, 0] == 1]
        tensor([4, 6])
    """

    def __init__(
        self,
        targets: Mapping[str, str] | None = None,
        num_negatives: int = 4,
        at: At = "first",
        published: str | None = None,
        fractions: tuple[float, float, float] | None = None,
        behaviours: Sequence[str] | None = None,
        seed: int = 0,
    ) -> None:
        check_choice("at", at, At, _NAME)
        self.targets = dict(_TARGETS if targets is None else targets)
        names = list(self.targets.values())
        if not names or len(set(names)) < len(names) or not all(n.isidentifier() for n in names):
            raise InputError(
                f"'targets' needs behaviours with distinct identifiers as names of their targets in"
                f" {_NAME!r} (got {self.targets})"
            )
        if num_negatives < 0:
            raise InputError(
                f"'num_negatives' needs to be at least 0 in {_NAME!r} (got {num_negatives})"
            )
        if published is not None and published not in self.targets:
            raise InputError(
                f"'published' needs to be a behaviour of 'targets' in {_NAME!r},"
                f" {', '.join(self.targets)} (got {published!r})"
            )
        if fractions is None:
            fractions = (0.8, 0.1, 0.1) if published is None else (0.9, 0.1, 0.0)
        self.fractions = check_fractions(fractions, _NAME)
        if published is not None and self.fractions[2] > 0:
            raise InputError(
                f"with 'published' nothing else is for testing in {_NAME!r}: the last of"
                f" 'fractions' needs to be 0 (got {self.fractions})"
            )
        self.num_negatives, self.at, self.published = num_negatives, at, published
        self.behaviours = None if behaviours is None else list(behaviours)
        self.seed = seed

    def forward(self, data: HeteroData) -> HeteroData:
        if "draw_report" in data:
            raise InputError(f"{MAIN} holds drawn impressions already: apply {_NAME!r} once")
        refuse_derived(data, [MAIN] if MAIN in data.edge_types else [], _NAME)
        test = None if self.published is None else published_pairs(data, _NAME)
        events = events_of(data, self.targets, self.behaviours, test, _NAME)
        rows = self._moments(events)
        rows.part = strategies.by_time(rows.rank, self.fractions)
        begin = _begins(rows, events)  # [4]
        label = events.label(rows.user, rows.item, rows.rank, begin[rows.part + 1])  # [n, K]
        happened = label.any(dim=1).nonzero().view(-1)
        late = label.size(0) - happened.numel()
        report = {**self._settings(events), "labelled_after_their_part": late}
        rows = rows.at(happened)
        if test is not None:
            rows = rows.followed_by(*test, rank=events.last, part=strategies.TEST)
        impressions, drawn = self._with_drawn(rows, events, report)
        target = events.label(
            impressions.user, impressions.item, impressions.rank, begin[impressions.part + 1]
        ).float()
        if self.published is not None:
            own = impressions.part == strategies.TEST
            known = list(self.targets).index(self.published)
            target[own] = float("nan")  # what else was done with these items is not known
            target[own, known] = (~drawn[own]).float()
        return self._graph(data, impressions, drawn, target, events, report)

    def _moments(self, events: Events) -> Drawn:
        r"""Returns what happened, each once, in the order of time."""
        user, item, rank = events.of_targets
        if self.at == "first":
            rank = events.touches.first(user, item)
        rows = Drawn(user, item, rank, torch.zeros_like(rank))
        rows = rows.at(rows.order())
        return rows.at(rows.is_new().nonzero().view(-1))

    def _with_drawn(
        self, rows: Drawn, events: Events, report: dict[str, Any]
    ) -> tuple[Drawn, Tensor]:
        free = events.touches.num_untouched(rows.user, rows.rank) > 0
        report["nothing_left_to_draw"] = int((~free).sum())
        again = free.nonzero().view(-1).repeat_interleave(self.num_negatives)
        drawn = rows.at(again)
        drawn.item = events.touches.draw(drawn.user, drawn.rank, self.seed)
        joined = rows.followed_by(drawn.user, drawn.item, drawn.rank, drawn.part)
        is_drawn = torch.arange(joined.user.numel()) >= rows.user.numel()
        order = joined.order()  # else every row's place would tell whether it was drawn
        return joined.at(order), is_drawn[order]

    def _graph(
        self,
        data: HeteroData,
        rows: Drawn,
        drawn: Tensor,
        target: Tensor,
        events: Events,
        report: dict[str, Any],
    ) -> HeteroData:
        out = copy.copy(data)
        for edge_type in (MAIN, (MAIN[2], f"rev_{MAIN[1]}", MAIN[0])):
            if edge_type in out.edge_types:
                del out[edge_type]
        device = events.device
        time, store = events.moment[rows.rank], out[MAIN]
        store.edge_index = torch.stack([rows.user, rows.item]).to(device)
        store.time = time.to(device)
        store.split = rows.part.to(device, torch.int8)
        store.target = target.to(device)  # [E, K]
        store.target_names = list(self.targets.values())
        store.target_kinds = ["binary"] * len(self.targets)
        for name, part in _PARTS.items():
            own = rows.part == part
            report[name] = {
                "happened": int((own & ~drawn).sum()),
                "drawn": int((own & drawn).sum()),
                "drawn_and_positive": int((own & drawn & (target == 1).any(dim=1)).sum()),
            }
        out.draw_report = report
        return out

    def _settings(self, events: Events) -> dict[str, Any]:
        return {
            "targets": dict(self.targets),
            "num_negatives": self.num_negatives,
            "at": self.at,
            "published": self.published,
            "fractions": list(self.fractions),
            "behaviours": events.behaviours,
            "seed": self.seed,
        }

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(targets={self.targets}, num_negatives={self.num_negatives},"
            f" at={self.at!r}, published={self.published!r}, seed={self.seed})"
        )


def _begins(rows: Drawn, events: Events) -> Tensor:
    r"""Returns the ranks at which the parts begin :math:`[3]`, and one after everything."""
    begin = [0, 0, 0, events.last]
    for own in (strategies.TEST, strategies.VAL):
        mine = rows.rank[rows.part == own]
        begin[own] = int(mine.min()) if mine.numel() else begin[own + 1]
    return torch.tensor(begin)
