import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pyg_mtrec._errors import InputError
from pyg_mtrec.nn import FieldEmbedding

NAN = float("nan")


def _by_loop(
    embedding: FieldEmbedding, categorical: list[list[int]], numeric: list[list[float]]
) -> torch.Tensor:
    """Every cell by itself; the table holds each field's rows and then its missing row."""
    out = []
    for codes, values in zip(categorical, numeric, strict=True):
        vectors, offset = [], 0
        for code, number in zip(codes, embedding.num_categories, strict=True):
            vectors.append(embedding.weight[offset + (code if 0 <= code < number else number)])
            offset += number + 1
        for field, value in enumerate(values):
            scaled = (value - float(embedding.mean[field])) / float(embedding.std[field])
            row = embedding.weight[offset + 1 if math.isnan(value) else offset]
            vectors.append(row if math.isnan(value) else scaled * row)
            offset += 2
        out.append(torch.stack(vectors))
    return torch.stack(out)


@given(
    num_categories=st.lists(st.integers(1, 5), max_size=3),
    num_numeric=st.integers(0, 3),
    dim=st.integers(1, 4),
    rows=st.integers(1, 5),
    exponent=st.integers(-10, 10),
    data=st.data(),
)
def test_is_a_loop_over_cells(
    num_categories: list[int],
    num_numeric: int,
    dim: int,
    rows: int,
    exponent: int,
    data: st.DataObject,
) -> None:
    if not num_categories and not num_numeric:
        num_categories = [2]
    code = st.lists(st.integers(-2, 6), min_size=len(num_categories), max_size=len(num_categories))
    value = st.sampled_from([NAN, -1.5, 0.0, 0.25, 3.0])
    number = st.lists(value, min_size=num_numeric, max_size=num_numeric)
    codes = data.draw(st.lists(code, min_size=rows, max_size=rows))
    numbers = [
        [v * 10.0**exponent for v in row]
        for row in data.draw(st.lists(number, min_size=rows, max_size=rows))
    ]
    mean, std = [0.5 * 10.0**exponent] * num_numeric, [2 * 10.0**exponent] * num_numeric
    embedding = FieldEmbedding(num_categories, num_numeric, dim, mean, std).double()
    out = embedding(
        torch.tensor(codes) if num_categories else None,
        torch.tensor(numbers, dtype=torch.float64) if num_numeric else None,
    )
    torch.testing.assert_close(out, _by_loop(embedding, codes, numbers), rtol=1e-9, atol=1e-12)


def test_gradient_of_a_row_is_the_sum_of_its_cells() -> None:
    embedding = FieldEmbedding([2], 1, 3, mean=[1.0], std=[2.0]).double()
    categorical = torch.tensor([[0], [0], [1], [-1]])
    numeric = torch.tensor([[3.0], [NAN], [5.0], [NAN]], dtype=torch.float64)
    grad = torch.randn(4, 2, 3, dtype=torch.float64)
    embedding(categorical, numeric).backward(grad)
    expected = torch.stack(
        [
            grad[0, 0] + grad[1, 0],
            grad[2, 0],
            grad[3, 0],
            1.0 * grad[0, 1] + 2.0 * grad[2, 1],
            grad[1, 1] + grad[3, 1],
        ]
    )
    torch.testing.assert_close(embedding.weight.grad, expected)
    index, scale = embedding.lookup(categorical, numeric)
    assert index.tolist() == [[0, 3], [0, 4], [1, 3], [2, 4]]
    assert scale.tolist() == [[1, 1], [1, 1], [1, 2], [1, 1]]


def test_from_columns_measures_the_training_rows() -> None:
    categorical = torch.tensor([[0, -1], [4, -1], [2, -1]])
    numeric = torch.tensor([[1.0, 7.0, NAN], [NAN, 7.0, NAN], [5.0, 7.0, NAN]])
    embedding = FieldEmbedding.from_columns(categorical, numeric, 4)
    assert embedding.num_categories == [5, 1]
    torch.testing.assert_close(embedding.mean, torch.tensor([3.0, 7.0, 0.0]).double())
    torch.testing.assert_close(embedding.std, torch.tensor([2.0, 1.0, 1.0]).double())
    assert bool(embedding(categorical, numeric).isfinite().all())
    assert FieldEmbedding.from_columns(None, numeric, 4).num_categories == []
    assert FieldEmbedding.from_columns(categorical[:0], None, 4).num_categories == [1, 1]


def test_timestamps_keep_their_differences() -> None:
    time = torch.tensor([[1.7e9], [1.7e9 + 60], [1.7e9 + 120]], dtype=torch.float64)
    embedding = FieldEmbedding.from_columns(None, time, 1)
    scale = embedding.lookup(None, time)[1]
    torch.testing.assert_close(scale.flatten(), torch.tensor([-1.5, 0, 1.5]).mul((2 / 3) ** 0.5))


def test_is_seeded_and_resumes() -> None:
    one, two = FieldEmbedding([3, 4], 2, 5), FieldEmbedding([3, 4], 2, 5)
    assert torch.equal(one.weight, two.weight)
    other = FieldEmbedding(
        [3, 4], 2, 5, mean=[1, 2], std=[3, 4], generator=torch.Generator().manual_seed(1)
    )
    assert not torch.equal(one.weight, other.weight)
    one.load_state_dict(other.state_dict())
    assert set(one.state_dict()) == {"weight", "mean", "std"}
    cells = torch.tensor([[0, 1]]), torch.tensor([[2.0, NAN]])
    assert torch.equal(one(*cells), other(*cells))
    assert one.weight.shape == (3 + 1 + 4 + 1 + 2 * 2, 5)


def test_bad_input() -> None:
    with pytest.raises(InputError, match="'dim' needs to be positive"):
        FieldEmbedding([2], 0, 0)
    with pytest.raises(InputError, match="positive numbers"):
        FieldEmbedding([2, 0], 0, 3)
    with pytest.raises(InputError, match="at least one field"):
        FieldEmbedding([], 0, 3)
    with pytest.raises(InputError, match=r"'mean' needs to hold 2 finite numbers"):
        FieldEmbedding([], 2, 3, mean=[1.0])
    with pytest.raises(InputError, match=r"'std' needs to hold 1 finite numbers"):
        FieldEmbedding([], 1, 3, std=[NAN])
    embedding = FieldEmbedding([2], 1, 3)
    with pytest.raises(InputError, match=r"'numeric' needs to have the shape \[B, 1\].*got None"):
        embedding(torch.tensor([[0]]))
    with pytest.raises(InputError, match=r"'categorical' needs to have the shape \[B, 1\]"):
        embedding(torch.tensor([[0, 1]]), torch.tensor([[0.5]]))
