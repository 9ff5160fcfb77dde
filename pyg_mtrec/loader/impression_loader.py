import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from pyg_mtrec._errors import InputError
from pyg_mtrec.loader._edge_stream import EdgeStream
from pyg_mtrec.loader._feature_columns import FeatureColumns
from pyg_mtrec.loader._relation import count_nodes, store_of
from pyg_mtrec.loader.behaviour_sequences import BehaviourSequences
from pyg_mtrec.loader.impressions import Impressions

_MAIN: EdgeType = ("user", "interacts", "item")


class ImpressionLoader:
    r"""Yields the labelled impressions of a split, with the features of user, item and moment.

    Every impression is one row, whatever its labels; none is drawn and none is made up. Features of
    users and items stay on their nodes and are looked up for a batch at a time. Nothing waits for
    the device on which the graph lies.

    Args:
        data: A graph of :class:`~pyg_mtrec.transforms.SplitImpressions`.
        batch_size: Impressions per step; the last batch may be smaller.
        generator: Shuffles the rows (default: a fresh one with seed 0 on the device of the graph).
        shuffle: Whether the rows are shuffled.
        sequences: Looks up what the user did before each impression (default: not asked for).

    Raises:
        InputError: If ``batch_size`` is not positive, the graph holds no labels, labels or features
            have a wrong shape or type, or there are sequences of impressions without times.

    Example:
        >>> import torch
        >>> from torch_geometric.data import HeteroData
        >>> from pyg_mtrec.loader import ImpressionLoader
        >>> data = HeteroData()
        >>> data["user"].num_nodes, data["item"].num_nodes = 2, 3
        >>> data["user"].categorical = torch.tensor([[4], [-1]])
        >>> data["user"].categorical_names = ["city"]
        >>> store = data["user", "interacts", "item"]
        >>> store.edge_label_index = torch.tensor([[0, 1, 1], [2, 0, 2]])
        >>> store.edge_label = torch.tensor([[1.0], [0.0], [float("nan")]])
        >>> store.edge_label_names, store.edge_label_kinds = ["click"], ["binary"]
        >>> store.edge_label_categorical = torch.tensor([[23], [0], [7]])
        >>> store.categorical_names = ["hour"]
        >>> loader = ImpressionLoader(data, batch_size=2, shuffle=False)
        >>> loader.categorical_names
        ['user.city', 'hour']
        >>> [batch.categorical.tolist() for batch in loader]
        [[[4, 23], [-1, 0]], [[-1, 7]]]
    """

    def __init__(
        self,
        data: HeteroData,
        batch_size: int = 1024,
        generator: torch.Generator | None = None,
        shuffle: bool = True,
        sequences: BehaviourSequences | None = None,
    ) -> None:
        if batch_size < 1:
            raise InputError(
                f"'batch_size' needs to be positive in 'ImpressionLoader' (got {batch_size})"
            )
        store = store_of(data, _MAIN)
        for name in ("edge_label_index", "edge_label"):
            if name not in store:
                raise InputError(
                    f"{_MAIN} has no {name!r} for 'ImpressionLoader': apply 'SplitImpressions'"
                )
        self.user: Tensor = store.edge_label_index[0]  # [n]
        self.item: Tensor = store.edge_label_index[1]  # [n]
        self.label: Tensor = store.edge_label  # [n, K]
        self.time: Tensor | None = store.get("edge_label_time")
        self.target_names: list[str] = list(store.get("edge_label_names") or ())
        self.target_kinds: list[str] = list(store.get("edge_label_kinds") or ())
        size, num_targets = self.user.numel(), len(self.target_names)
        if self.label.shape != (size, num_targets) or len(self.target_kinds) != num_targets:
            raise InputError(
                f"'edge_label' of {_MAIN} needs the shape [{size}, {num_targets}], one column for"
                f" each of 'edge_label_names' and 'edge_label_kinds' (got"
                f" {list(self.label.shape)} and {len(self.target_kinds)} kinds)"
            )
        if sequences is not None and self.time is None:
            raise InputError(
                f"{_MAIN} has no 'edge_label_time', so nothing tells which events come before an"
                " impression: leave out 'sequences', or split a graph with 'time'"
            )
        self.sequences = sequences
        sizes = {node_type: count_nodes(data, node_type) for node_type in ("user", "item")}
        #: Number of items of the catalogue.
        self.num_items: int = sizes["item"]
        self._features = [
            FeatureColumns(
                kind,
                [
                    *((side, data[side], kind, number) for side, number in sizes.items()),
                    ("", store, f"edge_label_{kind}", size),
                ],
            )
            for kind in ("categorical", "numeric")
        ]
        #: Names of the columns of ``Impressions.categorical``, as ``user.city`` or ``hour``.
        self.categorical_names: list[str] = self._features[0].names
        #: Names of the columns of ``Impressions.numeric``.
        self.numeric_names: list[str] = self._features[1].names
        if generator is None:
            generator = torch.Generator(self.user.device).manual_seed(0)
        self.batch_size, self.generator, self.shuffle = batch_size, generator, shuffle
        self._stream = EdgeStream(size, batch_size, generator, shuffle)

    @property
    def num_impressions(self) -> int:
        r"""The number of rows of an epoch."""
        return self.user.numel()

    def __len__(self) -> int:
        return math.ceil(self.num_impressions / self.batch_size)

    def __iter__(self) -> Iterator[Impressions]:
        order = self._stream.draw().to(self.user.device)  # [n]
        for step in range(len(self)):
            yield self._rows(order[step * self.batch_size : (step + 1) * self.batch_size])

    def whole(self, start: int = 0, stop: int | None = None) -> Impressions:
        r"""Returns consecutive impressions in their own order, as evaluation reads them.

        Args:
            start: The first row.
            stop: The row after the last one (default: to the end).
        """
        start, stop, _ = slice(start, stop).indices(self.num_impressions)
        return self._rows(torch.arange(start, max(start, stop), device=self.user.device))

    def pairs(self, user: Tensor, item: Tensor) -> Impressions:
        r"""Returns impressions that have not happened: no labels, features of a moment missing.

        Their sequences end with the last events that are known.

        Args:
            user: Users :math:`[B]`.
            item: Items :math:`[B]`.
        """
        rows = {"user": user, "item": item}
        categorical, numeric = (features.gather(rows) for features in self._features)
        label = self.label.new_full((user.numel(), len(self.target_names)), float("nan"))
        sequences = None if self.sequences is None else self.sequences(user)
        return Impressions(user, item, label, categorical, numeric, sequences=sequences)

    def _rows(self, index: Tensor) -> Impressions:
        user, item = self.user[index], self.item[index]
        rows = {"user": user, "item": item, "": index}
        categorical, numeric = (features.gather(rows) for features in self._features)
        time = None if self.time is None else self.time[index]
        sequences = None if self.sequences is None else self.sequences(user, time)
        label = self.label[index]
        return Impressions(user, item, label, categorical, numeric, index, time, sequences)

    def state_dict(self) -> dict[str, Any]:
        r"""Returns what decides all following epochs, a tensor in a dictionary.

        It is taken between epochs; the rest of an epoch under way is not part of it.
        """
        return {"generator": self.generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        r"""Continues as the loader that gave the state would have.

        Args:
            state: What :meth:`state_dict` of a loader over the same data returned.
        """
        self.generator.set_state(state["generator"])

    def __repr__(self) -> str:
        return (
            f"{self.__class__.__name__}({self.target_names}, batch_size={self.batch_size},"
            f" steps={len(self)})"
        )
