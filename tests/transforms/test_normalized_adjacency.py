import math
import time

import pytest
import torch
from bank import MAIN, REVERSE, TRUSTS, graphs, no_interactions, pairs
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric.data import HeteroData

from pyg_mtrec._errors import InputError
from pyg_mtrec.transforms import NormalizedAdjacency

NORMALIZATIONS = ("sym", "row", "authors")


def dense(edges: list[tuple[int, int]], num_src: int, num_dst: int, kind: str) -> Tensor:
    """The formula, entry by entry, in float64; rows are destinations."""
    partners = set(edges)
    out = torch.zeros(num_dst, num_src, dtype=torch.double)
    for src, dst in partners:
        deg_src = sum(s == src for s, _ in partners)
        deg_dst = sum(d == dst for _, d in partners)
        out[dst, src] = {
            "sym": 1 / math.sqrt(deg_src * deg_dst),
            "row": 1 / deg_dst,
            "authors": 1 / (deg_dst + 1),
        }[kind]
    return out


def check(data: HeteroData, edge_type: tuple[str, str, str], kind: str) -> None:
    src_type, name, dst_type = edge_type
    num_src, num_dst = data[src_type].num_nodes, data[dst_type].num_nodes
    edges = pairs(data[edge_type].edge_index)
    out = NormalizedAdjacency(edge_type, normalization=kind)(data)
    forward, reverse = out[edge_type], out[dst_type, f"rev_{name}", src_type]
    want = dense(edges, num_src, num_dst, kind)
    want_reverse = dense([(dst, src) for src, dst in edges], num_dst, num_src, kind)
    for got, expected in (
        (forward.adj_t, want),
        (forward.adj, want.t()),
        (reverse.adj_t, want_reverse),
        (reverse.adj, want_reverse.t()),
    ):
        assert got.layout == torch.sparse_csr
        assert got.dtype == torch.float32
        assert got.crow_indices().dtype == got.col_indices().dtype == torch.int32
        assert got.shape == expected.shape
        # Correctly rounded: the very float32 that the float64 formula rounds to.
        assert torch.equal(got.to_dense(), expected.float())
        assert got.values().numel() == len(set(edges))
        torch.sparse_csr_tensor(
            got.crow_indices(), got.col_indices(), got.values(), got.shape, check_invariants=True
        )


@pytest.mark.parametrize("kind", NORMALIZATIONS)
@pytest.mark.parametrize("name", graphs())
def test_equals_the_dense_formula(name: str, kind: str) -> None:
    data = graphs()[name]
    # The larger graph is for the other tests: the loop is cubic in it.
    if name == "larger":
        data[MAIN].edge_index = data[MAIN].edge_index[:, :300]
    check(data, MAIN, kind)
    if TRUSTS in data.edge_types:
        data[TRUSTS].edge_index = data[TRUSTS].edge_index[:, :100]
        check(data, TRUSTS, kind)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), max_size=25),
    st.sampled_from(NORMALIZATIONS),
)
def test_any_graph(edges: list[tuple[int, int]], kind: str) -> None:
    data = HeteroData()
    data["user"].num_nodes, data["item"].num_nodes = 7, 6
    data[MAIN].edge_index = torch.tensor(edges, dtype=torch.long).view(-1, 2).t().contiguous()
    check(data, MAIN, kind)


def test_the_symmetric_pair_shares_memory() -> None:
    out = NormalizedAdjacency()(graphs()["plain"])
    assert out[MAIN].adj_t is out[REVERSE].adj
    assert out[MAIN].adj is out[REVERSE].adj_t


def test_rows_of_the_mean_sum_to_one() -> None:
    out = NormalizedAdjacency(normalization="row")(graphs()["isolated_nodes"])
    sums = out[MAIN].adj_t.to_dense().sum(dim=1)
    has_partner = torch.zeros(12)
    has_partner[[4, 6, 8, 10]] = 1
    assert torch.allclose(sums, has_partner)


def test_existing_reverse_edges_stay() -> None:
    data = graphs()["behaviours"]
    out = NormalizedAdjacency()(data)
    assert torch.equal(out[REVERSE].edge_index, data[REVERSE].edge_index)
    assert out[REVERSE].num_edges == data[REVERSE].num_edges


def test_no_edges_and_no_nodes() -> None:
    out = NormalizedAdjacency()(no_interactions())
    assert out[MAIN].adj_t.shape == (4, 3)
    assert out[MAIN].adj_t.values().numel() == 0
    data = no_interactions()
    data["item"].num_nodes = 0
    assert NormalizedAdjacency()(data)[MAIN].adj_t.shape == (0, 3)


def test_int64_indices() -> None:
    out = NormalizedAdjacency(index_dtype=torch.int64)(graphs()["plain"])
    assert out[MAIN].adj_t.col_indices().dtype == torch.int64


def test_bad_input() -> None:
    with pytest.raises(InputError, match=r"'normalization' needs to be one of .* .got 'both'."):
        NormalizedAdjacency(normalization="both")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"'index_dtype' needs to be int32 or int64"):
        NormalizedAdjacency(index_dtype=torch.int16)
    with pytest.raises(InputError, match=r"needs the relation"):
        NormalizedAdjacency(("user", "buys", "item"))(graphs()["plain"])
    data = graphs()["plain"]
    data[MAIN].edge_index = data[MAIN].edge_index.float()
    with pytest.raises(InputError, match=r"needs to be int64 of shape \[2, E\]"):
        NormalizedAdjacency()(data)


def test_gowalla_in_a_second(real_root) -> None:
    from pyg_mtrec.datasets import Gowalla
    from pyg_mtrec.transforms import SplitInteractions

    train, _, _ = SplitInteractions("given", val_fraction=0.0)(Gowalla(real_root("gowalla"))[0])
    start = time.process_time()
    out = NormalizedAdjacency()(train)
    assert time.process_time() - start < 1.0
    assert out[MAIN].adj_t.values().numel() == 810_128
    src, dst = train[MAIN].edge_index
    weight = (torch.bincount(src)[src] * torch.bincount(dst)[dst]).double().rsqrt()
    product = torch.zeros(train["item"].num_nodes, dtype=torch.double)
    product.index_add_(0, dst, weight)
    ones = torch.ones(train["user"].num_nodes, 1)
    assert torch.allclose((out[MAIN].adj_t @ ones).view(-1).double(), product, rtol=1e-5)
