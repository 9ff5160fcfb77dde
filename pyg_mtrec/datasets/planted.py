import os
from collections.abc import Callable
from typing import Any, ClassVar, cast, get_args

from torch import Tensor
from torch_geometric.data import HeteroData, InMemoryDataset

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets._planted_arguments import check_arguments
from pyg_mtrec.datasets._planted_graphs import impressions, interactions
from pyg_mtrec.datasets._planted_model import PlantedModel
from pyg_mtrec.datasets._planted_oracle import PlantedOracle
from pyg_mtrec.datasets._planted_target_oracle import expected_targets
from pyg_mtrec.datasets._planted_targets import TargetModel, Targets


class Planted(InMemoryDataset):
    r"""A seeded world whose best possible ranking, or prediction, is known.

    Besides the interactions it holds one *informative*, one *weak* and one *misleading* auxiliary
    relation, so that a rule which decides whom to trust has something to decide. With ``targets``
    it is another world, to predict in, which the section on targets describes.

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

    Draws are made of ``PCG64`` bits by exactly rounded arithmetic, so that the arrays, and
    :meth:`checksum`, do not depend on the platform. Time and memory are linear in the number of
    interactions.

    **Targets.** With ``targets`` the graph holds impressions instead: items shown, not chosen, with
    ``target`` (``click``, ``long_view``, ``watch_time`` in seconds). Users, items, tastes, traits,
    popularity and activity are those above; the item is drawn in proportion to :math:`\pi_i` alone,
    pairs may repeat, and there are no other relations. For user :math:`u`, item :math:`i`, hour
    :math:`h`,

    .. math::
        x &= \tfrac{1}{8} \left(6\,(t_{u,a_i} + t_{u,b_i}) - 8 + o_u + q_i \pm 2\right), \qquad
        \sigma(x) = \tfrac{1}{2} \Big(1 + \frac{x}{\sqrt{1 + x^2}}\Big) \\
        P(\text{click}) &= \sigma(x'), \qquad
        P(\text{long view}) = \sigma(x')\, \sigma\big(\tfrac{x'}{2} - \tfrac{1}{8}\big) \\
        \text{watch time} &= \tfrac{d_i}{4} \big(x + \sqrt{1 + x^2}\big) \cdot
        7\, (v^{-1/8} - 1)

    with leaning :math:`o_u` and quality :math:`q_i` uniform in :math:`-2, \dots, 2`, the plus from
    12 to 24 o'clock, duration :math:`d_i` uniform in :math:`20, \dots, 40`, and :math:`v` uniform
    in :math:`(0, 1)`: the last factor has mean 1 and variance 4/3. A long view is a click; apart
    from that the targets are independent given :math:`x`, :math:`x'` and :math:`d_i`. In ``hybrid``
    :math:`x' = x`. In ``hybrid-control`` :math:`x'` is the affinity of a second space: tastes,
    traits, leanings and qualities drawn anew by the same law, the plus from 6 to 18 o'clock. All
    else is the same array in both, so that click and long view of the control tell nothing about
    the watch time. Best possible in both: AUC about 0.83 (click) and 0.88 (long view), :math:`R^2`
    about 0.29, by the true expectations (:meth:`target_oracle`).

    *Features* come per space, ``_1`` and ``_2``, so that each mode knows as much about its clicks:
    ``interest`` (strongest favourite with probability 0.8, else uniform), ``genre`` (one of both
    traits with 0.9, else uniform), ``leaning`` and ``quality`` (with an error uniform in
    :math:`-2, \dots, 2`); missing for a fifth of the users and a tenth of the items. ``duration``
    and ``hour`` are exact, ``noise`` tells nothing. ``time`` is uniform in 30 days, in seconds; it
    tells the hour and nothing else. *Reasons:* pairs and time tell nothing of tastes, so that what
    is to be learned comes from labels and features. A third of the impressions is clicked and half
    of the clicks are long, as in logs. :math:`\sigma` is Student's distribution function with two
    degrees of freedom and :math:`x + \sqrt{1 + x^2}` a smooth ramp, both without exp. The tail of
    the watch time has exponent 8: skewed, yet squared errors have a variance. A click then tells
    about as much of :math:`x` as a watch time does (Fisher information 0.37 and 0.43). A change of
    this section would be a new :attr:`target_version`.

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
        targets: ``None``, ``"hybrid"`` or ``"hybrid-control"`` (default: ``None``).

    Raises:
        InputError: If sizes, seed or targets are out of range.

    Example:
        >>> import torch
        >>> from pyg_mtrec.datasets import Planted
        >>> dataset = Planted(num_interactions=1_000)
        >>> data = dataset[0]
        >>> data["user", "interacts", "item"].num_edges
        1000
        >>> dataset.oracle().score(torch.tensor([0, 1])).shape
        torch.Size([2, 200])
        >>> Planted(num_interactions=1_000, targets="hybrid").target_oracle()["click"].shape
        torch.Size([1000])
    """

    name: ClassVar[str] = "planted"
    version: ClassVar[int] = 1
    target_version: ClassVar[int] = 1
    default_tasks: ClassVar[tuple[str, ...]] = ("bpr", "social", "also-viewed", "also-bought")
    default_split: ClassVar[str] = "random"
    #: Published :meth:`checksum` of seed 0 by number of interactions, other sizes at their default.
    checksums: ClassVar[dict[int, str]] = {
        1_000: "b250280b63e418a535db531e1da1992d1ccfa47c94b20245b49022757f4d7a2d",
        60_000: "85885f5d10301f48b5b81742e657c569e1fbb8b397fc5d00bb280088a7696bc7",
        1_000_000: "0ec70da90aa0e6ed5519af0427b09d2509001aa3289e1f5b90469645bca7bfbb",
        10_000_000: "58fadafcd51cae2e72c99111731f7f0f239ff362db541a21bec28d62ce8d3621",
    }
    #: The same of the worlds with targets, which have a version of their own.
    target_checksums: ClassVar[dict[str, dict[int, str]]] = {
        "hybrid": {
            1_000: "0c54bc26c4ce7588e305f6018ff34fcdb1f804855dae8ba4eafd676ff5fa501a",
            60_000: "795b0e329fd3684296f43006fc9ebf02937b45cf6d1f593edfdc8c8f8cadfc25",
            1_000_000: "1afe6cad263e06634833fc24d0cf732e626e4a0179d86c71a57845b059170b09",
        },
        "hybrid-control": {
            1_000: "f7601a1b6f6035b49878a56817cb37b56000ac966b4e59c3defcc60c43821b19",
            60_000: "bb4189aeed66227eab67580cb1460bba92d394057fa767387623c75519bbb82a",
            1_000_000: "439bb69dba5924f54c697a065fc7d70453610871cc01f2abb2e1411c0ec3cb0b",
        },
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
        targets: Targets | None = None,
    ) -> None:
        self.num_interactions = num_interactions
        self.num_users = max(1, num_interactions // 20) if num_users is None else num_users
        self.num_items = max(200, num_interactions // 30) if num_items is None else num_items
        self.seed = seed
        self.targets = targets
        check_arguments(self.num_interactions, self.num_users, self.num_items, seed, targets)
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

    @property
    def has_process(self) -> bool:
        r"""Whether there is a folder to keep the processed file in."""
        return not self._in_memory

    @property
    def processed_file_names(self) -> str:
        r"""Name of the processed file: version, sizes, seed and targets."""
        sizes = f"{self.num_interactions}_{self.num_users}_{self.num_items}"
        suffix = "" if self.targets is None else f"_{self.targets}_v{self.target_version}"
        return f"planted_v{self.version}_{sizes}_seed{self.seed}{suffix}.pt"

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

    def _target_model(self) -> TargetModel:
        return TargetModel.draw(self._model(), self.target_version)

    def _draw(self) -> HeteroData:
        if self.targets is None:
            return interactions(self._model(), self.num_interactions)
        return impressions(self._target_model(), self.num_interactions, self.targets)

    @property
    def report(self) -> dict[str, int | float | str]:
        r"""Version, seed, checksum, the edges per relation or the means of the targets."""
        return dict(self._graph.report)

    @property
    def raw_sha256(self) -> dict[str, str]:
        r"""The checksum in the place of raw files, of which there are none."""
        return {"edges": self.checksum()}

    @property
    def known(self) -> bool:
        r"""Whether this world is a published one."""
        published = self.checksums if self.targets is None else self.target_checksums[self.targets]
        return self.checksum() in published.values()

    def checksum(self) -> str:
        r"""SHA-256 over all that was drawn, before any transform.

        That is the numbers of nodes and all edges; with targets also times, targets and features.
        """
        return str(self._graph.report["checksum"])

    def oracle(self, data: HeteroData | None = None) -> PlantedOracle:
        r"""Returns the best possible scorer.

        Args:
            data: A transformed form of the data set's graph, in case ids were permuted or nodes
                dropped: rows and columns then follow its ``raw_id`` (default: the graph itself).

        Returns:
            An object with ``num_items`` and ``score(user_ids [b]) -> [b, num_items]``, the true
            log-weights :math:`\log w_{ui}`.

        Raises:
            InputError: If the world has targets: its impressions follow no preferences.
        """
        if self.targets is not None:
            raise InputError(
                f"'oracle' ranks by what interactions prefer (got targets={self.targets!r}, where"
                " items are shown, not chosen): use 'target_oracle'"
            )
        data = self._graph if data is None else data
        return PlantedOracle(self._model(), data["user"].raw_id, data["item"].raw_id)

    def target_oracle(self, data: HeteroData | None = None) -> dict[str, Tensor]:
        r"""Returns the best possible predictions.

        Args:
            data: A transformed form of the data set's graph, such as a part of a split: predicted
                are the rows of ``edge_label_index`` if there is one, else all impressions, by
                ``raw_id`` and the context feature ``hour`` (default: the graph itself).

        Returns:
            ``click`` and ``long_view``, the true probabilities, and ``watch_time``, the true
            expectation in seconds: float32 :math:`[n]` each.

        Raises:
            InputError: If the world has no targets, or the graph no ``hour``.
        """
        if self.targets is None:
            raise InputError(
                "'target_oracle' needs a world with targets (got targets=None): pass"
                f" 'targets', one of {list(get_args(Targets))}"
            )
        data = self._graph if data is None else data
        return expected_targets(self._target_model(), self.targets, data)
