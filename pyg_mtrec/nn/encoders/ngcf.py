from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch_geometric.typing import Adj, EdgeType

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn.conv.adjacency import Adjacency
from pyg_mtrec.nn.conv.lg_conv import LGConv
from pyg_mtrec.nn.conv.ngcf_conv import NGCFConv
from pyg_mtrec.nn.encoders._propagate import Operator, named_types, operators, propagate
from pyg_mtrec.nn.encoders.encoder import Encoder
from pyg_mtrec.nn.encoders.representations import Representations


class NGCF(Encoder):
    r"""`NGCF <https://arxiv.org/abs/1905.08108>`_: tables and transformed hops side by side.

    .. math::
        \mathbf{E}^{(l)} = \mathrm{LeakyReLU} \left(
        (\mathbf{L} + \mathbf{S}) \mathbf{E}^{(l-1)} \mathbf{W}_1^{(l)}
        + (\mathbf{L} \mathbf{E}^{(l-1)}) \odot \mathbf{E}^{(l-1)} \mathbf{W}_2^{(l)} \right),
        \qquad \mathbf{E} = \mathbf{E}^{(0)} \, \Vert \,
        \overline{\mathbf{E}}^{(1)} \, \Vert \cdots \Vert \, \overline{\mathbf{E}}^{(L)}

    A bar divides every row by its norm; what the next layer reads is not divided.

    Args:
        dim: Width :math:`d` of the tables and of every layer.
        num_layers: Number of layers :math:`L`.
        laplacian: ``"paper"`` for :math:`\mathbf{L} = \mathbf{D}^{-1/2} \mathbf{A}
            \mathbf{D}^{-1/2}` and :math:`\mathbf{S} = \mathbf{I}`; ``"authors"`` for the
            off-diagonal and diagonal part of :math:`(\mathbf{D} + \mathbf{I})^{-1} (\mathbf{A} +
            \mathbf{I})`, which the released code takes. Matrices need to be normalised
            accordingly (``"sym"`` or ``"authors"`` of
            :class:`~pyg_mtrec.transforms.NormalizedAdjacency`).
        dropout: Share of a layer's output that is dropped in training (message dropout).
        node_dropout: Share of nodes whose outgoing messages are dropped in every layer in
            training. In both dropouts the rest is scaled up to keep the mean.
        bias: Adds a bias in every layer; the paper has none.
        negative_slope: Slope of the activation below zero.
        generator: Source of the first weights (Xavier's uniform law) and of the dropout masks,
            which every forward pass draws once. Needs to live on the CPU, whatever the device of
            the tables; its state is part of :meth:`state_dict` (default: seeded with 0).

    Raises:
        InputError: If an argument is out of its range.

    Example:
        >>> import torch
        >>> from pyg_mtrec.nn import NGCF, NodeEmbedding
        >>> x_dict = NodeEmbedding({"user": 2, "item": 3}, dim=8)()
        >>> edge_index = torch.tensor([[0, 0, 1], [0, 1, 1]])
        >>> adj_dict = {
        ...     ("user", "interacts", "item"): edge_index,
        ...     ("item", "rev_interacts", "user"): edge_index.flip(0),
        ... }
        >>> encoder = NGCF(dim=8, num_layers=2)
        >>> encoder(x_dict, adj_dict).x_dict["item"].shape
        torch.Size([3, 24])
    """

    def __init__(
        self,
        dim: int,
        num_layers: int = 3,
        laplacian: str = "paper",
        dropout: float = 0.1,
        node_dropout: float = 0.0,
        bias: bool = False,
        negative_slope: float = 0.2,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if num_layers < 1:
            raise InputError(f"'num_layers' needs to be positive in 'NGCF' (got {num_layers})")
        if laplacian not in ("paper", "authors"):
            raise InputError(
                f"'laplacian' needs to be 'paper' or 'authors' in 'NGCF' (got '{laplacian}')"
            )
        for name, share in (("dropout", dropout), ("node_dropout", node_dropout)):
            if not 0 <= share < 1:
                raise InputError(f"'{name}' needs to lie in [0, 1) in 'NGCF' (got {share})")
        self.generator = torch.Generator().manual_seed(0) if generator is None else generator
        if self.generator.device.type != "cpu":
            raise InputError(
                f"'generator' needs to live on the CPU in 'NGCF' (got {self.generator.device})"
            )
        self.num_layers = num_layers
        self.laplacian = laplacian
        self.dropout = dropout
        self.node_dropout = node_dropout
        self.sum = LGConv(normalize=False)  # type: ignore[abstract]
        self.convs = torch.nn.ModuleList(
            NGCFConv(dim, dim, bias, negative_slope)  # type: ignore[abstract]
            for _ in range(num_layers)
        )
        self.reset_parameters(self.generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        r"""Draws the weights of all layers anew.

        Args:
            generator: Source of randomness (default: the encoder's own).
        """
        for conv in cast("Iterable[NGCFConv]", self.convs):
            conv.reset_parameters(self.generator if generator is None else generator)

    def out_dim(self, dim: int) -> int:
        return dim * (self.num_layers + 1)

    def forward(
        self, x_dict: Mapping[str, Tensor], adj_dict: Mapping[EdgeType, Adj | Adjacency]
    ) -> Representations:
        normalization = "sym" if self.laplacian == "paper" else "authors"
        relations = operators("NGCF", x_dict, adj_dict, normalization)
        layer = {node_type: x_dict[node_type] for node_type in named_types(adj_dict)}
        self_weight = self._self_weight(layer, relations)
        masks = self._mask_generator(next(iter(layer.values())).device)
        parts = {node_type: [x] for node_type, x in layer.items()}
        for conv in cast("Iterable[NGCFConv]", self.convs):
            sent = {
                node_type: _drop(x, (x.size(0), 1), self.node_dropout, masks)
                for node_type, x in layer.items()
            }
            message = propagate(self.sum, sent, relations)
            for node_type, x in layer.items():
                received = message.get(node_type)
                received = torch.zeros_like(x) if received is None else received  # [N, d]
                out = conv.transform(received, x, self_weight.get(node_type))  # [N, d]
                layer[node_type] = _drop(out, out.shape, self.dropout, masks)
                parts[node_type].append(normalize(layer[node_type], dim=1))
        joined = {node_type: torch.cat(part, dim=1) for node_type, part in parts.items()}
        return Representations({**x_dict, **joined})  # [N, d * (L + 1)]

    def _self_weight(
        self, x_dict: Mapping[str, Tensor], relations: Mapping[EdgeType, Operator]
    ) -> dict[str, Tensor]:
        if self.laplacian == "paper":
            return {}
        if len({dst for _, _, dst in relations}) < len(relations):
            raise InputError(
                "'adj_dict' needs to hold one relation a destination in 'NGCF' with"
                f" laplacian='authors' (got {', '.join(map(str, relations))})"
            )
        ones = {node_type: x.new_ones(x.size(0), 1) for node_type, x in x_dict.items()}
        sums = propagate(self.sum, ones, relations)
        return {node_type: 1 - total for node_type, total in sums.items()}  # 1 / (degree + 1)

    def _mask_generator(self, device: torch.device) -> torch.Generator | None:
        if not self.training or self.dropout == self.node_dropout == 0:
            return None
        # Seeded on the host, so that one saved state serves every device and nothing is awaited.
        seed = int(torch.randint(2**62, (), generator=self.generator))
        return torch.Generator(device).manual_seed(seed)

    def get_extra_state(self) -> Tensor:
        r"""Returns the state of the generator, which :meth:`state_dict` holds."""
        return self.generator.get_state()

    def set_extra_state(self, state: Tensor) -> None:
        r"""Restores the state of the generator.

        Args:
            state: What :meth:`get_extra_state` returned.
        """
        self.generator.set_state(state.cpu())

    def __repr__(self) -> str:
        return f"NGCF(num_layers={self.num_layers}, laplacian='{self.laplacian}')"


def _drop(
    x: Tensor, shape: Sequence[int], share: float, generator: torch.Generator | None
) -> Tensor:
    if generator is None or share == 0:
        return x
    keep = torch.rand(shape, generator=generator, device=x.device) >= share
    return x * (keep.to(x.dtype) / (1 - share))
