import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from pyg_mtrec._errors import InputError
from pyg_mtrec.baselines._interactions import INTERACTS, interaction_matrix
from pyg_mtrec.baselines._packed_inverse import PackedInverse

_GROUP = 32  # users scored at once, times
_BLOCK = 8192  # items: their scores, formed items-first, are turned round inside the cache
_STEP = 128  # columns of the inverse taken at once


class EASE:
    r"""The linear item-item model in closed form (`paper <https://arxiv.org/abs/1905.03375>`_).

    It minimises :math:`\|\mathbf X - \mathbf X \mathbf B\|_F^2 + \lambda \|\mathbf B\|_F^2` under
    :math:`\operatorname{diag}(\mathbf B) = 0` for the binary matrix :math:`\mathbf X` of users and
    items. With :math:`\mathbf P = (\mathbf X^\top \mathbf X + \lambda \mathbf I)^{-1}`, the scores
    are

    .. math::
        \mathbf S = \mathbf X \mathbf B
        = \mathbf X - \mathbf X \mathbf P \operatorname{diag}(\mathbf P)^{-1} ,

    and the same without anything of size items² is, with
    :math:`\mathbf K = (\mathbf X \mathbf X^\top + \lambda \mathbf I)^{-1}` of users²,

    .. math::
        \mathbf X \mathbf P = \mathbf K \mathbf X , \qquad
        P_{jj} = \tfrac{1}{\lambda} (1 - \mathbf x_j^\top \mathbf K \mathbf x_j) .

    The smaller side is inverted, in place and in float64 (the subtraction in :math:`P_{jj}`
    cancels in float32), in packed storage: ``4 n²`` bytes for ``n`` users, ``8 n²`` for ``n``
    items, whose :math:`\mathbf B` is kept in float32. Users without items and items without users
    take no part; their scores are 0. Everything runs on the CPU.

    Args:
        train: A split whose ``edge_index`` holds the training interactions.
        l2: The penalty :math:`\lambda`.
        memory_limit: Bytes that the closed form may take.
        form: ``"primal"`` (items²), ``"dual"`` (users²) or ``"auto"``, the smaller of the two
            that fits.
        edge_type: The relation that is ranked.

    Raises:
        InputError: If ``l2`` is not positive, ``form`` is unknown, or neither side fits.

    Example:
        >>> import torch
        >>> from torch_geometric.data import HeteroData
        >>> from pyg_mtrec.baselines import EASE
        >>> train = HeteroData()
        >>> train["user"].num_nodes, train["item"].num_nodes = 3, 2
        >>> train["user", "interacts", "item"].edge_index = torch.tensor([[0, 0, 1], [0, 1, 0]])
        >>> EASE(train, l2=1.0).score(torch.tensor([1, 2]))
        tensor([[0.0000, 0.3333],
                [0.0000, 0.0000]])
    """

    def __init__(
        self,
        train: HeteroData,
        l2: float = 250.0,
        memory_limit: int = 8 * 2**30,
        form: str = "auto",
        edge_type: EdgeType = INTERACTS,
    ) -> None:
        if not 0.0 < l2 < float("inf"):
            raise InputError(f"'l2' needs to be positive and finite in 'EASE' (got {l2})")
        if form not in ("auto", "primal", "dual"):
            raise InputError(f"'form' needs to be 'auto', 'primal' or 'dual' (got '{form}')")
        x = interaction_matrix(train, edge_type)
        self.l2 = l2
        self.num_users, self._num_items = x.shape
        self.items = np.flatnonzero(np.bincount(x.indices, minlength=x.shape[1]))  # with users
        users = np.flatnonzero(np.diff(x.indptr))  # with items
        self.position = np.full(x.shape[0], -1)
        self.position[users] = np.arange(users.size)
        self.x = x[users].astype(np.float64)  # [active users, I]
        self.form = self._choose(form, memory_limit)
        if self.form == "primal":
            self._fit_primal()
        else:
            self._fit_dual()

    def _choose(self, form: str, memory_limit: int) -> str:
        num_users, num_items = self.x.shape[0], self.items.size
        size = {"primal": num_items, "dual": num_users}
        need = {"primal": 8 * num_items**2, "dual": 4 * num_users**2}
        forms = [form] if form != "auto" else sorted(size, key=lambda name: size[name])
        for name in forms:
            if need[name] <= memory_limit:
                return name
        raise InputError(
            f"'EASE' needs {min(need[name] for name in forms) / 1e9:.1f} GB for {num_users} users "
            f"and {num_items} items, over 'memory_limit' ({memory_limit / 1e9:.1f} GB): raise it, "
            "or take 'ItemKNN'"
        )

    def _inverse(self, x: sp.csr_array) -> PackedInverse:
        transposed = x.T.tocsr()

        def rows(start: int, stop: int) -> np.ndarray:
            block: np.ndarray = (x[start:stop] @ transposed).toarray()
            block[np.arange(stop - start), np.arange(start, stop)] += self.l2
            return block

        return PackedInverse(x.shape[0], rows)

    def _fit_primal(self) -> None:
        self.x = self.x[:, self.items]
        inverse = self._inverse(self.x.T.tocsr())  # P
        size = inverse.size
        diagonal = inverse.diagonal()
        self.weight = torch.empty(size, size)  # B
        for i in torch.arange(size).split(_STEP):
            self.weight[i] = (-inverse.columns(i).t() / diagonal).float()
        self.weight.fill_diagonal_(0.0)

    def _fit_dual(self) -> None:
        self.inverse = self._inverse(self.x)  # K
        transposed = self.x.T.tocsr()  # [items, users]
        explained = np.zeros(self.x.shape[1])  # x_j' K x_j
        for start in range(0, self.x.shape[0], _STEP):
            index = torch.arange(start, min(start + _STEP, self.x.shape[0]))
            x = self.x[start : start + _STEP].tocoo()
            items, place = np.unique(x.col, return_inverse=True)
            y = transposed[items] @ self.inverse.columns(index).numpy()  # [items, b]
            np.add.at(explained, x.col, y[place, x.row])
        left = 1.0 - explained  # l2 P_jj
        # Scores are differences of terms up to 1 / left times as large.
        self.dtype = np.float32 if left.min(initial=1.0) > 0.01 else np.float64
        scaled = sp.csr_array(sp.diags_array(-self.l2 / left) @ transposed).astype(self.dtype)
        self.blocks = [scaled[start : start + _BLOCK] for start in range(0, explained.size, _BLOCK)]

    @property
    def num_items(self) -> int:
        r"""The size of the catalogue."""
        return int(self._num_items)

    def score(self, user_ids: Tensor) -> Tensor:
        r"""Scores all items for some users.

        Args:
            user_ids: Users of shape :math:`[b]`.

        Returns:
            Scores of shape :math:`[b, I]` in float32; 0 for users and items without interactions.
        """
        position = self.position[user_ids.cpu().numpy()]  # [b]
        known = position[position >= 0]  # [a]
        x = self.x[known].astype(np.float32)
        part = torch.empty(known.size, self.num_items)
        if self.form == "primal":
            part.zero_()
            scores = torch.from_numpy(np.asarray(x @ self.weight.numpy()))
            part.index_copy_(1, torch.from_numpy(self.items), scores)
        else:
            for start in range(0, known.size, _GROUP):
                rows = slice(start, start + _GROUP)
                self._score_dual(known[rows], part[rows])
            row, item = (torch.from_numpy(index).long() for index in x.tocoo().coords)
            part[row, item] += 1.0
        if known.size == position.size:
            return part
        out = torch.zeros(position.size, self.num_items)
        out[torch.from_numpy(position >= 0)] = part
        return out

    def _score_dual(self, users: np.ndarray, out: Tensor) -> None:
        columns = self.inverse.columns(torch.from_numpy(users)).numpy().astype(self.dtype)
        for start, block in zip(range(0, self.num_items, _BLOCK), self.blocks, strict=True):
            out[:, start : start + _BLOCK] = torch.from_numpy(block @ columns).t()

    def __repr__(self) -> str:
        return (
            f"{self.__class__.__name__}(num_users={self.num_users}, num_items={self.num_items}, "
            f"l2={self.l2}, form='{self.form}')"
        )
