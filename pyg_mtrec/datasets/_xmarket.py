import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from pyg_mtrec._errors import InputError
from pyg_mtrec.datasets._base import Report
from pyg_mtrec.datasets._uprth import Pairs, UPRTHFormat, read_bytes

_LINE = re.compile(rb"(\d{1,15}) +(\d+(?:\.\d+)?) *\r?")


class XMarketFormat(UPRTHFormat):
    r"""Base of the markets of XMarket. See :class:`~pyg_mtrec.datasets.XMRecMX`.

    A rating is a bin of half a star, whose raw id is its place among the nine bins from 1 to 5
    stars, and whose stars are its ``value``.
    """

    default_tasks = ("bpr", "same-category", "bought-together")
    relations: ClassVar[Mapping[EdgeType, str]] = {
        ("item", "bought_together", "item"): "boughtTogether.txt",
        ("item", "compared_together", "item"): "comparedTogether.txt",
        ("item", "in", "category"): "item_category.txt",
        ("item", "in", "rating"): "item_rating.txt",
    }

    def read(self, raw: Path) -> tuple[HeteroData, Report]:
        data, report = super().read(raw)
        data["rating"].value = data["rating"].raw_id.to(torch.float32) / 2 + 1
        return data, report

    def read_pairs(self, path: Path) -> Pairs:
        return (
            _read_half_stars(path) if path.name == "item_rating.txt" else super().read_pairs(path)
        )


def _read_half_stars(path: Path) -> Pairs:
    r"""Reads lines of an item and its rating; returns the items and the ratings' bins."""
    content = read_bytes(path).rstrip()
    if not content:
        raise InputError(f"'{path}' has no rows: place the whole file there")
    lines = content.split(b"\n")
    matches = [_LINE.fullmatch(line) for line in lines]
    if None in matches:
        row = matches.index(None)
        got = " ".join(lines[row][:40].decode("utf-8", "replace").split())
        raise InputError(
            f"'{path}', line {row + 1}: needs an item id >= 0 and its rating (got '{got}')"
        )
    item, stars = (np.array([m[i] for m in matches if m]) for i in (1, 2))
    place = 2 * stars.astype(np.float64) - 2
    wrong = (place != np.floor(place)) | (place < 0) | (place > 8)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InputError(
            f"'{path}', line {row + 1}: 'rating' needs to be 1 to 5 in steps of 0.5"
            f" (got {stars[row].decode()})"
        )
    return item.astype(np.int64), place.astype(np.int64)
