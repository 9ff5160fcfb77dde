import os
from collections.abc import Callable
from typing import Any, ClassVar, cast

import torch
from torch_geometric.data import HeteroData, InMemoryDataset

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets._planted_model import PlantedModel, checksum
from pyg_mtrec.datasets._planted_oracle import PlantedOracle

_RELATIONS = (
    ("user", "interacts", "item"),
    ("user", "trusts", "user"),
    ("item", "also_viewed", "item"),
    ("item", "also_bought", "item"),
)


class Planted(InMemoryDataset):
    r"""A seeded world whose best possible ranking is known.

    Besides the interactions it holds one *informative*, one *weak* and one *misleading* auxiliary
    relation, so that a rule which decides whom to trust has something to decide.

    **Preferences.** There are 16 traits. User :math:`u` has three favourites, drawn uniformly,
    with tastes :math:`t_{u,k} = 3, 2, 1`, and :math:`t_{u,k} = 0` for the other traits. Item
    :math:`i` carries two distinct traits :math:`a_i, b_i`, drawn uniformly, and has the popularity
    :math:`\pi_i`. User :math:`u` draws item :math:`i` with a weight of

    .. math::
        w_{ui} = \pi_i \cdot 2^{\,t_{u,a_i} + t_{u,b_i}}, \qquad
        \pi_i = \left\lfloor \frac{2^{20}}{1 + 50\, r_i / I} \right\rfloor,

    where the rank :math:`r_i` is a random permutation of :math:`0, \dots, I - 1`, independent of
    the traits. A user draws items one after the other, with probability proportional to the weight
    among the items not yet drawn, until the history has its length :math:`n_u`: five, plus a share
    of the remaining interactions in proportion to :math:`1/\sqrt{v_u} - 1` (:math:`v_u` uniform,
    cut at 15), and at most a quarter of the items. The length is independent of the tastes.

    **Best ranking.** The set of a user's items gets more probable whenever one of them is exchanged
    for an item of larger weight, and a split at random treats all of the history alike. Given any
    training part, held-out items are hence more probable in the order of :math:`w_{ui}`: among
    rankings that see no held-out data, :meth:`oracle` has the largest expected Recall, Precision
    and NDCG. One draw of the held-out items may still favour another ranking by chance.

    **Auxiliary relations** (directed; drawn with repeats and loops, which are dropped):

    - ``('user', 'trusts', 'user')``, informative, task ``social``: with probability 0.8 the target
      is a uniform user with whom the source shares two favourites, a random two of its three; else
      a uniform user. Sources follow the law of the activity, drawn anew.
    - ``('item', 'also_viewed', 'item')``, weak: with probability 0.5 the target is a uniform item
      that carries a random one of the source's two traits; else a uniform item.
    - ``('item', 'also_bought', 'item')``, misleading: items are put in :math:`\lceil I / 50 \rceil`
      groups at random, and the target is a uniform item of the source's group. Groups, and so the
      links, are independent of traits and popularity.

    **Why these numbers.** Each was set for the reason given here, before any model was trained on
    the world, and none was changed afterwards; a change would be a new :attr:`version`, with all
    results run again.

    - 16 traits and popularity make the logarithm of the weights a matrix of rank 17 at most, which
      32 columns can hold; the misleading groups (40 in the default size) compete for those columns.
    - Tastes of 3, 2, 1 give each user an own direction (3,360 kinds of users), and leave about a
      quarter of the draws to items that carry no favourite.
    - The most popular item is 51 times as popular as the least, and the top 1 % of items hold about
      a tenth of the popularity: a heavy tail, while every item can be met.
    - 20 interactions per user and 30 per item on average, no history below 5, a median of about 12:
      as sparse as common 5-core sets, so that side relations have something to add.
    - As many draws of trust links as a third, of also-viewed as a sixth and of also-bought as a
      half of the interactions: published sets hold about 0.4 trust links and up to 2 also-bought
      links per interaction, and also-viewed lists are the sparser ones.
    - 0.8 and 0.5: social links are mostly, not purely, a matter of taste; a weak relation is half
      noise, and what is not noise tells one of two traits.

    Draws are integers made of ``PCG64`` bits by exactly rounded arithmetic, so that the arrays, and
    :meth:`checksum`, do not depend on the platform. Time and memory are linear in the number of
    interactions.

    Args:
        root: Folder in which to keep the processed file. ``None`` (default) keeps nothing: the
            world is drawn in memory.
        num_interactions: Number of user-item pairs, 1,000 to 10,000,000 being the intended range
            (default: 60,000).
        num_users: Number of users (default: one per 20 interactions).
        num_items: Number of items (default: one per 30 interactions, at least 200).
        seed: Seed of the world, not negative (default: 0).
        transform: Applied at every access.
        pre_transform: Applied once, when the data set is made.
        force_reload: Whether to draw again although the file is there (default: ``False``).

    Raises:
        InputError: If sizes or seed are out of range.

    Example:
        >>> from pyg_mtrec.datasets import Planted
        >>> dataset = Planted(num_interactions=1_000)
        >>> data = dataset[0]
        >>> data["user", "interacts", "item"].num_edges
        1000
        >>> dataset.oracle().score(torch.tensor([0, 1])).shape
        torch.Size([2, 200])
    """

    name: ClassVar[str] = "planted"
    version: ClassVar[int] = 1
    default_tasks: ClassVar[tuple[str, ...]] = ("bpr", "social", "also-viewed", "also-bought")
    default_split: ClassVar[str] = "random"
    #: Published :meth:`checksum` of seed 0 by number of interactions, other sizes at their default.
    checksums: ClassVar[dict[int, str]] = {
        1_000: "b250280b63e418a535db531e1da1992d1ccfa47c94b20245b49022757f4d7a2d",
        60_000: "85885f5d10301f48b5b81742e657c569e1fbb8b397fc5d00bb280088a7696bc7",
        1_000_000: "0ec70da90aa0e6ed5519af0427b09d2509001aa3289e1f5b90469645bca7bfbb",
        10_000_000: "58fadafcd51cae2e72c99111731f7f0f239ff362db541a21bec28d62ce8d3621",
    }

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        num_interactions: int = 60_000,
        num_users: int | None = None,
        num_items: int | None = None,
        seed: int = 0,
        transform: Callable[[HeteroData], Any] | None = None,
        pre_transform: Callable[[HeteroData], HeteroData] | None = None,
        force_reload: bool = False,
    ) -> None:
        self.num_interactions = num_interactions
        self.num_users = max(1, num_interactions // 20) if num_users is None else num_users
        self.num_items = max(200, num_interactions // 30) if num_items is None else num_items
        self.seed = seed
        self._check()
        self._in_memory = root is None
        path = None if root is None else os.path.expanduser(os.fspath(root))
        # The file holds the world as drawn, so that it suits every `pre_transform`.
        super().__init__(path, transform, force_reload=force_reload)
        if path is None:
            self._data = self._draw()
        else:
            self.load(self.processed_paths[0], data_cls=HeteroData)
        if pre_transform is not None:
            self.pre_transform = pre_transform
            self._data = pre_transform(self._graph)

    def _check(self) -> None:
        for key, least in (("num_users", 1), ("num_items", 4)):
            if getattr(self, key) < least:
                raise InputError(
                    f"'{key}' needs to be at least {least} in 'Planted' (got {getattr(self, key)})"
                )
        if self.seed < 0:
            raise InputError(f"'seed' needs to be at least 0 in 'Planted' (got {self.seed})")
        most = min(self.num_users * (self.num_items // 4), 10**8)
        if not self.num_users <= self.num_interactions <= most:
            raise InputError(
                f"'num_interactions' needs to be in [{self.num_users}, {most}] in 'Planted' with"
                f" {self.num_users} users and {self.num_items} items: one per user to a quarter of"
                f" the items each, 10^8 in all (got {self.num_interactions})"
            )

    @property
    def has_process(self) -> bool:
        r"""Whether there is a folder to keep the processed file in."""
        return not self._in_memory

    @property
    def processed_file_names(self) -> str:
        r"""Name of the processed file: version, sizes and seed."""
        sizes = f"{self.num_interactions}_{self.num_users}_{self.num_items}"
        return f"planted_v{self.version}_{sizes}_seed{self.seed}.pt"

    def process(self) -> None:
        r"""Draws the world and saves it."""
        path = self.processed_paths[0]
        self.save([self._draw()], f"{path}.part")
        os.replace(f"{path}.part", path)  # a killed run leaves no half-written file

    @property
    def _graph(self) -> HeteroData:
        return cast(HeteroData, self._data)

    def _model(self) -> PlantedModel:
        return PlantedModel.draw(self.num_users, self.num_items, self.seed, self.version)

    def _draw(self) -> HeteroData:
        model = self._model()
        edges = (
            model.interactions(self.num_interactions),
            model.trusts(self.num_interactions // 3),
            model.also_viewed(self.num_interactions // 6),
            model.also_bought(self.num_interactions // 2),
        )
        data = HeteroData()
        for node_type, size in (("user", self.num_users), ("item", self.num_items)):
            data[node_type].num_nodes = size
            data[node_type].raw_id = torch.arange(size)
        for edge_type, edge_index in zip(_RELATIONS, edges, strict=True):
            data[edge_type].edge_index = torch.from_numpy(edge_index)
        data.report = {
            "version": self.version,
            "seed": self.seed,
            "checksum": checksum((self.num_users, self.num_items), list(edges)),
        } | {edge_type[1]: data[edge_type].num_edges for edge_type in _RELATIONS}
        return data

    @property
    def report(self) -> dict[str, int | float | str]:
        r"""Version, seed, checksum, and the number of edges per relation."""
        return dict(self._graph.report)

    @property
    def raw_sha256(self) -> dict[str, str]:
        r"""The checksum in the place of raw files, of which there are none."""
        return {"edges": self.checksum()}

    @property
    def known(self) -> bool:
        r"""Whether this world is a published one."""
        return self.checksum() in self.checksums.values()

    def checksum(self) -> str:
        r"""SHA-256 over the numbers of nodes and all edges as drawn, before any transform."""
        return str(self._graph.report["checksum"])

    def oracle(self, data: HeteroData | None = None) -> PlantedOracle:
        r"""Returns the best possible scorer.

        Args:
            data: A transformed form of the data set's graph, in case ids were permuted or nodes
                dropped: rows and columns then follow its ``raw_id`` (default: the graph itself).

        Returns:
            An object with ``num_items`` and ``score(user_ids [b]) -> [b, num_items]``, the true
            log-weights :math:`\log w_{ui}`.
        """
        data = self._graph if data is None else data
        return PlantedOracle(self._model(), data["user"].raw_id, data["item"].raw_id)
