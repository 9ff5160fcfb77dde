from collections.abc import Mapping

from torch import Tensor
from torch_geometric.typing import Adj, EdgeType

from pyg_mtrec.nn.conv.adjacency import Adjacency
from pyg_mtrec.nn.encoders.encoder import Encoder
from pyg_mtrec.nn.encoders.representations import Representations


class MF(Encoder):
    r"""Matrix factorisation: the tables themselves are the representations.

    .. math::
        s_{ui} = \langle \mathbf{e}_u, \mathbf{e}_i \rangle

    With the BPR task this is the model of `BPR <https://arxiv.org/abs/1205.2618>`_.

    Example:
        >>> from pyg_mtrec.nn import MF, NodeEmbedding
        >>> x_dict = NodeEmbedding({"user": 3, "item": 5}, dim=8)()
        >>> MF()(x_dict).x_dict["user"] is x_dict["user"]
        True
    """

    local = True

    def forward(
        self,
        x_dict: Mapping[str, Tensor],
        adj_dict: Mapping[EdgeType, Adj | Adjacency] | None = None,
    ) -> Representations:
        return Representations(dict(x_dict))

    def __repr__(self) -> str:
        return "MF()"
