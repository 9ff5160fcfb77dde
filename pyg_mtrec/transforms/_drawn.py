"""Behaviours as events on one clock, and the impressions that are made of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mtrec._errors import InputError
from pyg_mtrec.transforms._split_options import published_split
from pyg_mtrec.transforms._stores import MAIN, edges, num_nodes
from pyg_mtrec.transforms._strategies import TEST
from pyg_mtrec.transforms._touches import Touches, times_of


@dataclass
class Drawn:
    r"""Impressions: users, items, ranks of their moments and parts, all :math:`[n]`."""

    user: Tensor
    item: Tensor
    rank: Tensor
    part: Tensor

    def at(self, rows: Tensor) -> "Drawn":
        r"""Returns the impressions at the positions ``rows``."""
        return Drawn(self.user[rows], self.item[rows], self.rank[rows], self.part[rows])

    def followed_by(
        self, user: Tensor, item: Tensor, rank: Tensor | int, part: Tensor | int
    ) -> "Drawn":
        r"""Returns these and further impressions."""
        rank, part = (
            x if isinstance(x, Tensor) else torch.full_like(user, x) for x in (rank, part)
        )
        return Drawn(
            torch.cat([self.user, user]),
            torch.cat([self.item, item]),
            torch.cat([self.rank, rank]),
            torch.cat([self.part, part]),
        )

    def is_new(self) -> Tensor:
        r"""Returns whether each is unlike the one before, the parts aside."""
        same = torch.zeros_like(self.user, dtype=torch.bool)
        columns = (self.user, self.item, self.rank)
        same[1:] = torch.stack([x[1:] == x[:-1] for x in columns]).all(dim=0)
        return ~same

    def order(self) -> Tensor:
        r"""Returns the order by time, user and item."""
        order = self.item.sort(stable=True).indices
        for column in (self.user, self.rank):
            order = order[column[order].sort(stable=True).indices]
        return order


class Events:
    r"""All events on one clock, on the CPU, where draws are the same for every device.

    Args:
        names: Names of the behaviours.
        columns: Of every behaviour the users, items and times.
        targets: Names of the behaviours to predict.
        sizes: Numbers of users and items.
        test: Pairs that are touched after everything, if there are any.
    """

    def __init__(
        self,
        names: list[str],
        columns: list[tuple[Tensor, Tensor, Tensor]],
        targets: list[str],
        sizes: tuple[int, int],
        test: tuple[Tensor, Tensor] | None,
    ) -> None:
        self.behaviours = names
        self.device = columns[0][0].device
        user, item, time = (torch.cat(parts).cpu() for parts in zip(*columns, strict=True))
        moment, rank = torch.unique(time, return_inverse=True)
        #: The times [T + 1], the last of which comes after all events.
        self.moment = torch.cat([moment, moment[-1:] + 1])
        #: The rank of the time after all events.
        self.last: int = moment.numel()
        of = torch.arange(len(names)).repeat_interleave(
            torch.tensor([part[0].numel() for part in columns])
        )
        if test is None:
            test = (user[:0], item[:0])
        self.touches = Touches(
            torch.cat([user, test[0]]),
            torch.cat([item, test[1]]),
            torch.cat([rank, torch.full_like(test[0], self.last)]),
            sizes,
            num_ranks=self.last + 1,
        )
        chosen = [of == names.index(name) for name in targets]
        #: Users, items and ranks of the events of all targets.
        rows = torch.stack(chosen).any(dim=0)
        self.of_targets = user[rows], item[rows], rank[rows]
        self._keys = [
            self.touches.keys(user[mine], item[mine], rank[mine]).sort().values for mine in chosen
        ]

    def label(self, user: Tensor, item: Tensor, rank: Tensor, end: Tensor) -> Tensor:
        r"""Returns whether each target happened :math:`[n, K]`, from ``rank`` until before ``end``.

        Args:
            user: Users :math:`[n]`.
            item: Items :math:`[n]`.
            rank: Ranks :math:`[n]` of the first moments.
            end: Ranks :math:`[n]` of the first moments that no longer count.
        """
        first, after = (self.touches.keys(user, item, when) for when in (rank, end))
        return torch.stack(
            [torch.searchsorted(key, first) < torch.searchsorted(key, after) for key in self._keys],
            dim=1,
        )


def events_of(
    data: HeteroData,
    targets: Iterable[str],
    behaviours: Sequence[str] | None,
    test: tuple[Tensor, Tensor] | None,
    transform: str,
) -> Events:
    r"""Reads the behaviours of a graph."""
    targets = list(targets)
    if behaviours is None:
        behaviours = [
            name
            for src, name, dst in data.edge_types
            if (src, dst) == (MAIN[0], MAIN[2])
            and name != MAIN[1]
            and "time" in data[src, name, dst]
        ]
    names = list(dict.fromkeys([*behaviours, *targets]))
    columns = []
    for name in names:
        edge_type = (MAIN[0], name, MAIN[2])
        edge_index = edges(data, edge_type, transform)
        columns.append((*edge_index, times_of(data, edge_type, transform)))
    if not any(
        user.numel() for name, (user, _, _) in zip(names, columns, strict=True) if name in targets
    ):
        raise InputError(
            f"{transform!r} found no event of {', '.join(targets)}: nothing is to be predicted"
        )
    sizes = num_nodes(data, MAIN[0]), num_nodes(data, MAIN[2])
    return Events(names, columns, targets, sizes, test)


def published_pairs(data: HeteroData, transform: str) -> tuple[Tensor, Tensor]:
    r"""Returns users and items of the held-out rows of the main relation."""
    edge_index = edges(data, MAIN, transform)
    held = edge_index[:, published_split(data, MAIN) == TEST].cpu()
    if held.size(1) == 0:
        raise InputError(f"{MAIN} has no row with 'split' 2, which 'published' asks for")
    return held[0], held[1]
