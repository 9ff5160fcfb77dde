from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from pyg_mtrec._errors import InputError
from pyg_mtrec.loader._relation import count_nodes, store_of


class _Events(NamedTuple):
    r"""Events by user and time: one key orders both, so that one search serves all rows.

    ``start`` :math:`[U + 1]` are the users' first positions, ``key`` :math:`[E]` is :math:`u (T +
    1)` and the rank of the time, and ``item`` :math:`[L + E]` the items behind :math:`L` times -1.
    """

    start: Tensor
    key: Tensor
    item: Tensor


class BehaviourSequences:
    r"""What users did before a moment: for each behaviour the last items, the newest at the end.

    A behaviour is a relation ``('user', name, 'item')`` with ``time``. Of an impression at
    :math:`\tau`, the sequence of a behaviour holds the last :math:`L` events of the user with

    .. math::
        t < \tau ,

    strictly, so that neither what came of the impression nor anything later is ever shown, in
    whichever part of a split it lies. Events are sorted once; a look-up is one binary search for
    all rows together. Events of equal time keep the order that they have in the graph.

    Args:
        data: A graph with the behaviours (:class:`~pyg_mtrec.transforms.SplitImpressions` needs
            ``behaviours='keep'`` to leave events of held-out pairs where they are).
        behaviours: Names of the relations.
        max_len: The longest sequence :math:`L`.
        trim: Whether sequences are cut to the longest of the batch, for which the host has to know
            it (default: on the CPU alone; elsewhere all have the length ``max_len``).

    Raises:
        InputError: If there is no behaviour, one is named twice, a relation is missing or has no
            integer ``time`` per event, an id is out of range, or ``max_len`` is not positive.

    Example:
        >>> import torch
        >>> from torch_geometric.data import HeteroData
        >>> from pyg_mtrec.loader import BehaviourSequences
        >>> data = HeteroData()
        >>> data["user"].num_nodes, data["item"].num_nodes = 2, 9
        >>> store = data["user", "views", "item"]
        >>> store.edge_index = torch.tensor([[0, 0, 0, 1], [5, 8, 6, 7]])
        >>> store.time = torch.tensor([10, 30, 20, 25])
        >>> sequences = BehaviourSequences(data, ["views"], max_len=50)
        >>> sequences(user=torch.tensor([0, 0, 1]), time=torch.tensor([30, 31, 25]))
        {'views': tensor([[-1,  5,  6],
                          [ 5,  6,  8],
                          [-1, -1, -1]])}
    """

    def __init__(
        self,
        data: HeteroData,
        behaviours: Sequence[str],
        max_len: int = 50,
        trim: bool | None = None,
    ) -> None:
        names = list(behaviours)
        if isinstance(behaviours, str) or not names or len(set(names)) < len(names):
            raise InputError(
                "'behaviours' needs distinct names of relations in 'BehaviourSequences', at least"
                f" one (got {behaviours!r})"
            )
        if max_len < 1:
            raise InputError(
                f"'max_len' needs to be positive in 'BehaviourSequences' (got {max_len})"
            )
        self.max_len, self.trim = max_len, trim
        #: Number of items of the catalogue.
        self.num_items: int = count_nodes(data, "item")
        times = {name: _times(data, ("user", name, "item")) for name in names}
        #: The distinct times of all behaviours :math:`[T]`.
        self._moment = torch.cat(list(times.values())).unique()
        self._events = {
            name: self._sorted(data, ("user", name, "item"), time) for name, time in times.items()
        }

    @property
    def behaviours(self) -> list[str]:
        r"""Names of the behaviours, in order."""
        return list(self._events)

    def __call__(self, user: Tensor, time: Tensor | None = None) -> dict[str, Tensor]:
        r"""Looks up the sequences of impressions.

        Args:
            user: Users :math:`[B]`.
            time: Moments :math:`[B]`, before which events are known (default: all events are).

        Returns:
            Behaviour to items :math:`[B, L]`, -1 in front of those that have fewer than :math:`L`;
            :math:`L` is at least 1.
        """
        key = None
        if time is not None:
            rank = torch.searchsorted(self._moment, time.long().contiguous())
            key = user * (self._moment.numel() + 1) + rank
        return {name: self._last(events, user, key) for name, events in self._events.items()}

    def _last(self, events: _Events, user: Tensor, key: Tensor | None) -> Tensor:
        # The first event that is not earlier, or that is not the user's.
        end = events.start[user + 1] if key is None else torch.searchsorted(events.key, key)  # [B]
        size = end - events.start[user]  # [B]
        length = self.max_len
        if self.trim if self.trim is not None else user.device.type == "cpu":
            longest = int(size.max()) if user.numel() else 0
            length = min(max(longest, 1), self.max_len)
        # All windows of this length as a view: a row of it is one copy of consecutive items.
        window = events.item[self.max_len - length :].unfold(0, length, 1)  # [E + 1, L]
        item = window.index_select(0, end)
        place = torch.arange(length, 0, -1, device=user.device)
        return item.masked_fill_(place > size[:, None], -1)  # what is before is another user's

    def _sorted(self, data: HeteroData, edge_type: EdgeType, time: Tensor) -> _Events:
        edge_index = data[edge_type].edge_index
        sizes = [count_nodes(data, node_type) for node_type in ("user", "item")]
        for ids, number, node_type in zip(edge_index, sizes, ("user", "item"), strict=True):
            if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < number:
                raise InputError(
                    f"{edge_type} has {node_type} ids in {int(ids.min())}..{int(ids.max())},"
                    f" outside 0..{number - 1}: check 'edge_index' or 'num_nodes'"
                )
        rank = torch.searchsorted(self._moment, time)
        key, order = (edge_index[0] * (self._moment.numel() + 1) + rank).sort(stable=True)
        start = key.new_zeros(sizes[0] + 1)
        start[1:] = torch.bincount(edge_index[0], minlength=sizes[0]).cumsum(0)
        item = torch.cat([key.new_full((self.max_len,), -1), edge_index[1, order]])
        return _Events(start, key, item)

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}({self.behaviours}, max_len={self.max_len})"


def _times(data: HeteroData, edge_type: EdgeType) -> Tensor:
    store = store_of(data, edge_type)
    time, size = store.get("time"), store.edge_index.size(1)
    if not isinstance(time, Tensor) or time.shape != (size,) or time.is_floating_point():
        found = f"{time.dtype} {list(time.shape)}" if isinstance(time, Tensor) else time
        raise InputError(
            f"{edge_type} needs an integer 'time' of shape [{size}] for 'BehaviourSequences' (found"
            f" {found})"
        )
    return time.long()
