import os
from collections.abc import Callable
from typing import Any, ClassVar, cast

from torch import Tensor
from torch_geometric.data import HeteroData, InMemoryDataset

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets._planted_arguments import TARGET_CHOICES, check_arguments, is_sequences
from pyg_mtrec.datasets._planted_checksums import CHECKSUMS, TARGET_CHECKSUMS
from pyg_mtrec.datasets._planted_graphs import impressions, interactions, sequences
from pyg_mtrec.datasets._planted_model import PlantedModel
from pyg_mtrec.datasets._planted_oracle import PlantedOracle
from pyg_mtrec.datasets._planted_sequence_oracle import expected_by_behaviour
from pyg_mtrec.datasets._planted_sequences import RELEVANCE, SequenceModel, SequenceTargets
from pyg_mtrec.datasets._planted_target_oracle import expected_targets
from pyg_mtrec.datasets._planted_targets import TargetModel, Targets


class Planted(InMemoryDataset):
    r"""A seeded world whose best possible ranking, or prediction, is known.

    Besides the interactions it holds one *informative*, one *weak* and one *misleading* auxiliary
    relation, so that a rule which decides whom to trust has something to decide. With ``targets``
    it is another world, to predict in: see the sections on targets and on sequences.

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

    Draws are made of ``PCG64`` bits by exactly rounded arithmetic, so that the arrays, and
    :meth:`checksum`, do not depend on the platform. Time and memory are linear in the interactions.

    **Targets.** With ``targets="hybrid"`` the graph holds impressions instead: items shown, not
    chosen, with ``target`` (``click``, ``long_view``, ``watch_time`` in seconds). Users, items,
    tastes, traits, popularity and activity are those above; the item is drawn in proportion to
    :math:`\pi_i` alone, pairs may repeat, and there are no other relations. For user :math:`u`,
    item :math:`i`, hour :math:`h`,

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
    about 0.29, by the true expectations (:meth:`target_oracle`). Features tell of tastes and traits
    with gaps and errors, per space. A change of this section would be a new :attr:`target_version`.

    **Sequences.** With ``targets="sequences"`` the graph holds timed ``views``, ``carts`` and
    ``buys``, and impressions with the binary targets ``cart`` and ``buy``, without features. Items
    carry one of 8 traits. In every behaviour a user has two favourite traits and one interest,
    which at each event stays with probability 3/4; else it becomes one of the favourites or, as
    often, any trait. The event's item has the interest's trait with probability 0.8, else any, and
    is drawn by popularity. Favourites, interests and items of the behaviours are independent of
    each other and of the impressions, whose items are drawn by popularity alone. For user
    :math:`u`, item :math:`i` and time :math:`\tau`, let :math:`m^b` be how many of the user's last
    five events of behaviour :math:`b` strictly before :math:`\tau` have an item of :math:`i`'s
    trait. Then, independently of each other,

    .. math::
        P(\text{cart}) = \sigma\big(m^{\text{views}} - \tfrac{3}{2}\big), \qquad
        P(\text{buy}) = \sigma\big(m^{\text{carts}} - \tfrac{3}{2}\big),

    so that each target wants a behaviour which tells the other nothing, and neither wants ``buys``.
    In ``sequences-control`` both want the views: :math:`P(\text{buy}) = P(\text{cart})`, and all
    but the labels of ``buy`` is the same array. What comes of an impression makes no event. Best
    possible in both: AUC about 0.83 for either target, by :meth:`target_oracle`; 0.63 for who knows
    the favourites but no event. A change of this section would be a new :attr:`sequence_version`.

    **Reasons** for all numbers, and the features, are on the page :doc:`/planted`.

    Args:
        root: Folder in which to keep the processed file. ``None`` (default) keeps nothing: the
            world is drawn in memory.
        num_interactions: Number of user-item pairs, 1,000 to 10,000,000 being the intended range
            (default: 60,000).
        num_users: Number of users (default: one per 20 interactions).
        num_items: Number of items (default: one per 30 pairs, of sequences per 300, at least 200).
        seed: Seed of the world, not negative (default: 0).
        transform: Applied at every access.
        pre_transform: Applied once, when the data set is made.
        force_reload: Whether to draw again although the file is there (default: ``False``).
        targets: ``None``, ``"hybrid"``, ``"hybrid-control"``, ``"sequences"`` or
            ``"sequences-control"`` (default: ``None``).

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
    sequence_version: ClassVar[int] = 1
    default_tasks: ClassVar[tuple[str, ...]] = ("bpr", "social", "also-viewed", "also-bought")
    default_split: ClassVar[str] = "random"
    #: Published :meth:`checksum` of seed 0 by number of interactions, other sizes at their default.
    checksums: ClassVar[dict[int, str]] = CHECKSUMS
    #: The same of the worlds with targets, which have versions of their own.
    target_checksums: ClassVar[dict[str, dict[int, str]]] = TARGET_CHECKSUMS

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
        targets: Targets | SequenceTargets | None = None,
    ) -> None:
        self.num_interactions = num_interactions
        self.num_users = max(1, num_interactions // 20) if num_users is None else num_users
        shown = 300 if is_sequences(targets) else 30  # interactions per item
        self.num_items = max(200, num_interactions // shown) if num_items is None else num_items
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
        version = self.sequence_version if is_sequences(self.targets) else self.target_version
        suffix = "" if self.targets is None else f"_{self.targets}_v{version}"
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

    def _sequence_model(self) -> SequenceModel:
        return SequenceModel.draw(self._model(), self.sequence_version)

    def _draw(self) -> HeteroData:
        if self.targets is None:
            return interactions(self._model(), self.num_interactions)
        if is_sequences(self.targets):
            return sequences(self._sequence_model(), self.num_interactions, self.targets)
        return impressions(self._target_model(), self.num_interactions, cast(Targets, self.targets))

    @property
    def report(self) -> dict[str, int | float | str]:
        r"""Version, seed, checksum, the edges per relation or the means of the targets."""
        return dict(self._graph.report)

    @property
    def raw_sha256(self) -> dict[str, str]:
        r"""The checksum in the place of raw files, of which there are none."""
        return {"edges": self.checksum()}

    @property
    def relevance(self) -> dict[str, str]:
        r"""The behaviour that each target reads, of a world of sequences; else empty."""
        return dict(RELEVANCE[self.targets]) if is_sequences(self.targets) else {}

    @property
    def known(self) -> bool:
        r"""Whether this world is a published one."""
        published = self.checksums if self.targets is None else self.target_checksums[self.targets]
        return self.checksum() in published.values()

    def checksum(self) -> str:
        r"""SHA-256 over all that was drawn, before any transform.

        That is the numbers of nodes and all edges; with targets also times, labels and features.
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
                ``raw_id`` and the context feature ``hour``, or the events that the graph holds
                (default: the graph itself).

        Returns:
            ``click`` and ``long_view``, the true probabilities, and ``watch_time``, the true
            expectation in seconds; with sequences ``cart`` and ``buy``, the true probabilities.
            float32 :math:`[n]` each.

        Raises:
            InputError: If the world has no targets, or the graph no ``hour``; with sequences, if
                times or a behaviour are missing, or a split has dropped some of its events.
        """
        if self.targets is None:
            raise InputError(
                "'target_oracle' needs a world with targets (got targets=None): pass"
                f" 'targets', one of {TARGET_CHOICES}"
            )
        data = self._graph if data is None else data
        if is_sequences(self.targets):
            return expected_by_behaviour(self._sequence_model(), self.relevance, data)
        return expected_targets(self._target_model(), cast(Targets, self.targets), data)
