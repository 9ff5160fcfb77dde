"""Predictions and labels with ties, one row, NaN labels and scales from 1e-10 to 1e10."""

import math

import torch
from hypothesis import strategies as st
from torch import Tensor

SCALES = (1e-10, 1.0, 1e10)


@st.composite
def binary_columns(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Scores that often tie, and labels 0, 1 and NaN with at least one of each class."""
    size = draw(st.integers(2, 24))
    scale = draw(st.sampled_from(SCALES))
    pred = draw(st.lists(st.integers(-4, 4), min_size=size, max_size=size))
    label = [*draw(st.lists(st.sampled_from([0.0, 1.0, math.nan]), max_size=size - 2)), 0.0, 1.0]
    label += [math.nan] * (size - len(label))
    order = draw(st.permutations(range(size)))
    pred = torch.tensor(pred, dtype=torch.double) * scale
    return pred, torch.tensor([label[row] for row in order], dtype=torch.double)


@st.composite
def amount_columns(draw: st.DrawFn, distinct: bool = True) -> tuple[Tensor, Tensor]:
    """Predictions and labels that often tie; if `distinct`, at least two labels differ."""
    size = draw(st.integers(2 if distinct else 1, 24))
    scales = draw(st.sampled_from(SCALES)), draw(st.sampled_from(SCALES))
    columns = [
        torch.tensor(
            draw(st.lists(st.integers(-3, 9), min_size=size, max_size=size)), dtype=torch.double
        )
        for _ in scales
    ]
    if distinct:
        columns[1][0] = columns[1][1] + 1
    return columns[0] * scales[0], columns[1] * scales[1]


def with_missing(pred: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """The same rows between unlabelled ones, whose predictions would change everything."""
    wild = torch.tensor([1e6, -1e6], dtype=pred.dtype)
    nan = torch.full((2,), math.nan, dtype=label.dtype)
    return torch.cat([wild[:1], pred, wild[1:]]), torch.cat([nan[:1], label, nan[1:]])
